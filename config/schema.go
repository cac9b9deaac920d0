package config

import (
	"fmt"
	"reflect"
	"regexp"
	"strings"
)

// field describes one key of the file, as the tags of its struct field say:
//
//	key:"name,flag…"  the key, and any of these flags:
//	                  required  must be there
//	                  restart   a reload cannot change it
//	                  named     a mapping from names to structs, read into a slice
//	                  bare      the field that one plain value stands for
//	                  seconds   a duration where a bare integer means seconds
//	                  bytes     a size, like 16KiB
//	default:"…"       the value as in the file; none: the zero value
//	min, max:"…"      bounds, as in the file
//	enum:"a|b"        the values that are allowed
//	form:"…"          the form of a text, see forms
//	doc:"…"           a sentence for editors
//
// The flag restart holds for all below.
type field struct {
	name  string
	index int

	required, restart, named, bare, seconds, bytes bool

	standard string // the default
	min, max string
	enum     []string
	form     *form
	doc      string
}

// fieldsOf gives the keys of struct type t, in the order of its fields. A
// field without a key is not the file's.
func fieldsOf(t reflect.Type) []field {
	var fields []field
	for i := range t.NumField() {
		tag := t.Field(i).Tag
		key, ok := tag.Lookup("key")
		if !ok {
			continue
		}
		words := strings.Split(key, ",")
		f := field{
			name: words[0], index: i, standard: tag.Get("default"),
			min: tag.Get("min"), max: tag.Get("max"), doc: tag.Get("doc"),
		}
		for _, word := range words[1:] {
			*f.flag(word) = true
		}
		if enum := tag.Get("enum"); enum != "" {
			f.enum = strings.Split(enum, "|")
		}
		if name := tag.Get("form"); name != "" {
			form, ok := forms[name]
			if !ok {
				panic(fmt.Sprintf("config: key %s has the unknown form %s", f.name, name))
			}
			f.form = &form
		}
		fields = append(fields, f)
	}
	return fields
}

func (f *field) flag(word string) *bool {
	switch word {
	case "required":
		return &f.required
	case "restart":
		return &f.restart
	case "named":
		return &f.named
	case "bare":
		return &f.bare
	case "seconds":
		return &f.seconds
	case "bytes":
		return &f.bytes
	}
	panic(fmt.Sprintf("config: key %s has the unknown flag %s", f.name, word))
}

// below gives child what f's flags say of all below it.
func (f field) below(child field) field {
	child.restart = child.restart || f.restart
	return child
}

// form is how a text has to look.
type form struct {
	pattern *regexp.Regexp
	want    string // completes `"…" is not `
	longest int    // in bytes; 0: the pattern says it
}

// refuse says what is wrong with text, "" for nothing. A nil form takes all.
func (f *form) refuse(text string) string {
	if f == nil || f.pattern.MatchString(text) && (f.longest == 0 || len(text) <= f.longest) {
		return ""
	}
	return "is not " + f.want
}

// A path segment that is neither empty nor "." nor "..", and holds nothing
// that one server decodes and another does not.
const segment = `([^./%\\?#;\x00-\x20\x7f][^/%\\?#;\x00-\x20\x7f]*` +
	`|\.[^./%\\?#;\x00-\x20\x7f][^/%\\?#;\x00-\x20\x7f]*` +
	`|\.\.[^/%\\?#;\x00-\x20\x7f]+)`

// A host name of lower-case labels. Others than ASCII are written as xn--.
const hostname = `[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*`

var forms = map[string]form{
	"address": {
		pattern: regexp.MustCompile(`^(([A-Za-z0-9_.-]*|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5})?$`),
		want:    `an address, like ":8080" or "127.0.0.1:8081"`,
	},
	"host": {
		pattern: regexp.MustCompile(`^(\*|(\*\.)?` + hostname + `)$`), longest: 253,
		want: `a host pattern: *, a host name in lower case without port, or *. before one`,
	},
	"hostname": {
		pattern: regexp.MustCompile(`^` + hostname + `$`), longest: 253,
		want: `a host name in lower case without port`,
	},
	"path": {
		pattern: regexp.MustCompile(`^/(` + segment + `(/` + segment + `)*)?$`),
		want:    `a plain path: it begins with /, does not end with one, and has no empty or dot segments, %, \, ;, ?, # or spaces`,
	},
	"path_or_none": {
		pattern: regexp.MustCompile(`^(/(` + segment + `(/` + segment + `)*)?)?$`),
		want:    `a plain path: it begins with /, does not end with one, and has no empty or dot segments, %, \, ;, ?, # or spaces`,
	},
	"method": {
		pattern: regexp.MustCompile(`^[A-Z]{0,20}$`),
		want:    `a method in capitals, like POST`,
	},
	"crawler": {
		pattern: regexp.MustCompile(`^([a-z0-9-]{1,50})?$`),
		want:    `a crawler's name: 1 to 50 lower-case letters, digits and dashes`,
	},
	"crawler_name": {
		pattern: regexp.MustCompile(`^[a-z0-9-]{1,50}$`),
		want:    `a crawler's name: 1 to 50 lower-case letters, digits and dashes`,
	},
	"prefix": {
		pattern: regexp.MustCompile(`^(/[A-Za-z0-9_-][A-Za-z0-9._~-]*)+$`),
		want:    `a prefix, like /_ropeline: not /, no / at the end, only letters, digits and . _ ~ -`,
	},
	"api_prefix": {
		pattern: regexp.MustCompile(`^(/[A-Za-z0-9_-][A-Za-z0-9._~-]*)*$`),
		want:    `empty or a prefix, like /_ropeline`,
	},
	"tenant": {
		pattern: regexp.MustCompile(`^[a-z0-9-]{1,50}$`),
		want:    `a tenant: 1 to 50 lower-case letters, digits and dashes`,
	},
	"sku": {
		pattern: regexp.MustCompile(`^[^\x00-\x1f\x7f-\x9f]{0,64}$`),
		want:    `a SKU: at most 64 characters on one line`,
	},
	"upstream": {
		pattern: regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,49}$`),
		want:    `an upstream's name: 1 to 50 lower-case letters, digits, _ and -, the first a letter or digit`,
	},
	"server_name": {
		pattern: regexp.MustCompile(`^(` + hostname + `)?$`), longest: 253,
		want: `a host name in lower case without port`,
	},
	"header": {
		pattern: regexp.MustCompile("^([A-Za-z0-9-]{1,100})?$"),
		want:    `a header's name: letters, digits and dashes`,
	},
	"cookie": {
		pattern: regexp.MustCompile("^([A-Za-z0-9!#$&'*+.^_`|~-]{1,100})?$"),
		want:    `a cookie's name`,
	},
	"claim": {
		pattern: regexp.MustCompile(`^[^\x00-\x1f\x7f-\x9f]{0,100}$`),
		want:    `a claim's name: at most 100 characters on one line`,
	},
	"endpoint": {
		pattern: regexp.MustCompile(`^(https?://[^\s/?#@]+(/[^\s?#]*)?)?$`), longest: 1000,
		want: `an address, like http://127.0.0.1:4318/v1/traces`,
	},
	"email": {
		pattern: regexp.MustCompile(`^([^@\s\x00-\x1f\x7f]+@` + hostname + `)?$`), longest: 254,
		want: `an e-mail address`,
	},
	"origin": {
		pattern: regexp.MustCompile(`^(\*|[a-z][a-z0-9+.-]*://(` + hostname + `|\[[0-9a-f:.]+\])(:[0-9]{1,5})?)$`),
		want:    `an origin: *, or scheme://host or scheme://host:port in lower case, without a path`,
	},
	"kid": {
		pattern: regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`),
		want:    `a key's name: 1 to 64 letters, digits, dots, _ and -`,
	},
	"name": {
		pattern: regexp.MustCompile(`^[^\x00-\x1f\x7f-\x9f]{1,100}$`),
		want:    `a name: 1 to 100 characters on one line`,
	},
	"message": {
		pattern: regexp.MustCompile(`^[^\x00-\x09\x0b-\x1f\x7f-\x9f]{0,500}$`),
		want:    `a message: at most 500 characters, without control characters`,
	},
	"setting": {
		pattern: regexp.MustCompile(`^[^\x00-\x1f\x7f-\x9f]{1,40}$`),
		want:    `a setting's name: 1 to 40 characters on one line`,
	},
	"shop": {
		pattern: regexp.MustCompile(`^[^\x00-\x1f\x7f-\x9f]{0,100}$`),
		want:    `a name: at most 100 characters on one line`,
	},
	"logo": {
		// No character that ends a source in a Content-Security-Policy. The page
		// has to fit the first flight of a connection, with the image in it.
		pattern: regexp.MustCompile(`^(https://` + hostname + `(:[0-9]{1,5})?(/[A-Za-z0-9._~%!$&*+=:@/-]*)?(\?[A-Za-z0-9._~%!$&*+=:@/-]*)?` +
			`|data:image/(png|jpeg|gif|webp|avif|svg\+xml);base64,[A-Za-z0-9+/]+={0,2})?$`), longest: 4096,
		want: `a logo: an https address, or an image as data:image/…;base64,… of at most 4096 bytes`,
	},
	"colour": {
		pattern: regexp.MustCompile(`^(#[0-9A-Fa-f]{6})?$`),
		want:    `a colour, like "#0a7d4f"`,
	},
	"language": {
		pattern: regexp.MustCompile(`^[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?$`),
		want:    `a language, like en, pt-BR or zh-Hant`,
	},
	"directory": {
		pattern: regexp.MustCompile(`^[^\x00-\x1f\x7f-\x9f]{0,1000}$`),
		want:    `a directory: at most 1000 characters on one line`,
	},
	"text": {
		pattern: regexp.MustCompile(`^[^\x00-\x1f\x7f-\x9f]{1,1000}$`),
		want:    `a text of 1 to 1000 characters on one line`,
	},
}
