package waitpage

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/ropeline/ropeline/web"
)

// A key that nothing reads is one that eighteen people translate for nothing.
func TestCatalog_HasNoKeyThatNothingReads(t *testing.T) {
	sources := web.Page
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") || file == "catalog.go" {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		sources += string(text)
	}
	read := map[string]bool{}
	for _, name := range regexp.MustCompile(`(?:\bc|chosen|\.Words)\.(\w+)`).FindAllStringSubmatch(sources, -1) {
		read[name[1]] = true
	}
	for i, catalog := 0, reflect.TypeFor[catalog](); i < catalog.NumField(); i++ {
		field := catalog.Field(i)
		if field.Tag.Get("json") != "" && !read[field.Name] {
			t.Errorf("nothing reads %s", field.Name)
		}
	}
}
