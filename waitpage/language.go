package waitpage

import (
	"cmp"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"os"
	"path"
	"slices"
	"strings"
	"sync"

	"golang.org/x/text/language"

	"github.com/ropeline/ropeline/web"
)

// Languages are those that a page is offered in; the first is for who reads
// none of them. They are immutable and safe for concurrent use.
type Languages struct {
	offered []*catalog
	options []template.HTML // of the chooser, for each of offered
	matcher language.Matcher
}

// builtIn are the languages that the program carries, English first.
var builtIn = sync.OnceValue(func() *Languages {
	l, err := readLanguages(nil, web.Words, "words")
	if err != nil {
		panic(err) // of embedded files only
	}
	return l
})

// OpenLanguages returns the built-in languages with those that dir adds, one
// <tag>.json for each. Of a language that is built in, a file need hold only
// the keys that it changes. An empty dir adds none. The error names every file
// and key that is wrong.
func OpenLanguages(dir string) (*Languages, error) {
	if dir == "" {
		return builtIn(), nil
	}
	return readLanguages(builtIn(), os.DirFS(dir), ".")
}

func readLanguages(base *Languages, files fs.FS, dir string) (*Languages, error) {
	names, err := fs.Glob(files, path.Join(dir, "*.json"))
	if err == nil {
		_, err = fs.Stat(files, dir) // Glob takes a missing directory for an empty one
	}
	if err != nil {
		return nil, err
	}
	var offered []*catalog
	if base != nil {
		offered = append(offered, base.offered...)
	} else { // English comes first: it is the model of all others
		slices.SortStableFunc(names, func(a, b string) int {
			return cmp.Compare(strings.Index(b, "/en."), strings.Index(a, "/en."))
		})
	}
	var problems []error
	for _, name := range names {
		data, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		var before, model *catalog
		lang := strings.TrimSuffix(path.Base(name), ".json")
		at := (&Languages{offered: offered}).find(lang)
		if at >= 0 {
			before = offered[at]
		}
		if len(offered) > 0 {
			model = offered[0]
		}
		c, err := readCatalog(lang, data, before, model)
		switch {
		case err != nil:
			for line := range strings.SplitSeq(err.Error(), "\n") { // one for each key
				problems = append(problems, fmt.Errorf("%s: %s", path.Base(name), line))
			}
		case at >= 0:
			offered[at] = c
		default:
			offered = append(offered, c)
		}
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return newLanguages(offered), nil
}

func newLanguages(offered []*catalog) *Languages {
	tags := make([]language.Tag, len(offered))
	options := make([]template.HTML, len(offered))
	for i, chosen := range offered {
		tags[i] = chosen.tag
		var b strings.Builder
		for _, c := range offered {
			selected := ""
			if c == chosen {
				selected = " selected"
			}
			fmt.Fprintf(&b, `<option value="%s" lang="%s"%s>%s</option>`, c.lang, c.lang, selected, template.HTMLEscapeString(c.Language))
		}
		options[i] = template.HTML(b.String())
	}
	return &Languages{offered, options, language.NewMatcher(tags)}
}

// Offer returns those of l that have the given tags, in that order; all where
// there are no tags. A tag that l lacks is an error.
func (l *Languages) Offer(tags []string) (*Languages, error) {
	if len(tags) == 0 {
		return l, nil
	}
	var offered []*catalog
	for _, tag := range tags {
		i := l.find(tag)
		if i < 0 {
			var known []string
			for _, c := range l.offered {
				known = append(known, c.lang)
			}
			return nil, fmt.Errorf("there is no language %q; there are %s", tag, strings.Join(known, ", "))
		}
		offered = append(offered, l.offered[i])
	}
	return newLanguages(offered), nil
}

// find returns the place of the language with exactly this tag; -1: none.
func (l *Languages) find(tag string) int {
	for i, c := range l.offered {
		if strings.EqualFold(c.lang, tag) {
			return i
		}
	}
	return -1
}

const (
	// languageCookie remembers what a visitor chose. It names a language and no
	// one, so it needs no protection.
	languageCookie = "ropeline-language"

	// longestAccept is how much of Accept-Language is looked at, in bytes. The
	// longest that browsers send names some dozen languages.
	longestAccept = 256

	// longestTag is the longest language tag that anyone uses, in bytes.
	longestTag = 35
)

// choose returns the place of the language in which r's sender reads best: the
// one that was chosen on the page, else by Accept-Language.
func (l *Languages) choose(r *http.Request) int {
	if chosen, err := r.Cookie(languageCookie); err == nil {
		if i := l.find(chosen.Value); i >= 0 {
			return i
		}
	}
	line := r.Header.Get("Accept-Language")
	if line == "" || len(line) > longestAccept {
		return 0
	}
	tags, _, err := language.ParseAcceptLanguage(line)
	if err != nil {
		return 0
	}
	if _, i, confidence := l.matcher.Match(tags...); confidence != language.No {
		return i
	}
	return 0
}

// Options returns the languages as the options of a select element, with that of
// r's sender chosen.
func (l *Languages) Options(r *http.Request) template.HTML { return l.options[l.choose(r)] }

// named returns the catalog with this tag, or the nearest to it, or the first.
func (l *Languages) named(tag string) *catalog {
	if i := l.find(tag); i >= 0 {
		return l.offered[i]
	}
	if len(tag) > longestTag {
		return l.offered[0]
	}
	if parsed, err := language.Parse(tag); err == nil {
		if _, i, confidence := l.matcher.Match(parsed); confidence != language.No {
			return l.offered[i]
		}
	}
	return l.offered[0]
}
