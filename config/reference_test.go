package config

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/ropeline/ropeline/golden"
)

// keyTable gives a row of Markdown for each key that may be set, from the tags
// that Load reads by.
func keyTable(t reflect.Type, path string, parent field) (rows []string) {
	for _, child := range fieldsOf(t) {
		f := parent.below(child)
		if f.bare { // what is bare stands in the row of its struct
			continue
		}
		at, kind := join(path, f.name), t.Field(f.index).Type
		switch {
		case isScalar(kind):
			rows = append(rows, keyRow(at, f))
		case f.named:
			rows = append(rows, keyRow(at, f))
			rows = append(rows, keyTable(kind.Elem(), at+".NAME", f)...)
		case kind.Kind() == reflect.Slice && isScalar(kind.Elem()):
			rows = append(rows, keyRow(at+"[]", f))
		case kind.Kind() == reflect.Slice:
			rows = append(rows, keyRow(at+"[]", f))
			rows = append(rows, keyTable(kind.Elem(), at+"[]", f)...)
		case kind.Kind() == reflect.Struct:
			if bare, ok := bareField(fieldsOf(kind)); ok {
				rows = append(rows, keyRow(at, field{doc: f.doc, restart: f.restart, form: bare.form}))
			}
			rows = append(rows, keyTable(kind, at, f)...)
		}
	}
	return rows
}

func keyRow(at string, f field) string {
	var notes []string
	if f.enum != nil {
		notes = append(notes, "One of `"+strings.Join(f.enum, "`, `")+"`.")
	}
	switch {
	case f.min != "" && f.max != "":
		notes = append(notes, fmt.Sprintf("From %s to %s.", f.min, f.max))
	case f.min != "":
		notes = append(notes, fmt.Sprintf("At least %s.", f.min))
	}
	if f.required {
		notes = append(notes, "Required.")
	}
	if f.restart {
		notes = append(notes, "A change needs a restart.")
	}
	standard := ""
	if f.standard != "" {
		standard = "`" + f.standard + "`"
	}
	return fmt.Sprintf("| `%s` | %s | %s |", at, standard, strings.TrimSpace(f.doc+" "+strings.Join(notes, " ")))
}

func TestReference_FollowsTheTags(t *testing.T) {
	for file, of := range map[string]reflect.Type{"../docs/configuration.md": reflect.TypeFor[Config](), "../docs/simulate.md": reflect.TypeFor[Plan]()} {
		table := "| key | default | meaning |\n|---|---|---|\n" + strings.Join(keyTable(of, "", field{}), "\n") + "\n"
		golden.OpenPart(t, file, "keys").Hold(t, table)
	}
}
