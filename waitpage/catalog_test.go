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
	for i, catalog := 0, reflect.TypeFor[catalog](); i < catalog.NumField(); i++ {
		field := catalog.Field(i)
		read := regexp.MustCompile(`(\bc|chosen|\.Words)\.` + field.Name + `\b`)
		if field.Tag.Get("json") != "" && !read.MatchString(sources) {
			t.Errorf("nothing reads %s", field.Name)
		}
	}
}
