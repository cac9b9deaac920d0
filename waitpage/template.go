package waitpage

import (
	"bytes"
	"errors"
	"fmt"
	"html/template"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/html"
)

// Template is a page of the operator's own, in place of the built-in one. It is
// an html/template of the same data, and may use the blocks of the built-in page
// by their names. It is safe for concurrent use.
type Template struct {
	name, source string
	layouts      sync.Map // *catalog → func() (*template.Template, error)
	failed       atomic.Bool
}

// NewTemplate makes a template of the text of the file called name. It is tried
// with every example, and with all that a page may hold beside: the error tells
// the line and what is wrong there.
func NewTemplate(name, source string) (*Template, error) {
	t := &Template{name: name, source: source}
	c := builtIn().offered[0]
	theme := template.CSS(":root{--accent:#0a7d4f}")
	forms := []*heldForm{nil, {}, {Fields: []field{{"size", "42"}}}}
	for i, example := range Examples(1, time.Now()) {
		const nonce = "SAMPLENONCE"
		v := c.view(example.Status, "Spring drop", forms[i%len(forms)], nonce)
		v.Shop, v.Icon, v.Base = "A shop", noTheme.icon, "/_ropeline/"
		if i%2 == 0 { // with all that an activity may do without
			v.Theme, v.Logo = theme, "https://shop.example.com/logo.svg"
			v.To, v.Options = "/drop", builtIn().options[0]
		}
		var b bytes.Buffer
		if _, err := t.execute(&b, c, v); err != nil {
			return nil, err
		}
		if tag, err := checkMarkup(b.Bytes(), nonce); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, lineOf(tag, source), err)
		}
	}
	return t, nil
}

// writeOwn writes the page by a template of the operator's, which may be nil.
// Where that fails b is left empty.
func (p *Page) writeOwn(b *bytes.Buffer, t *Template, c *catalog, v view) bool {
	if t == nil {
		return false
	}
	first, err := t.execute(b, c, v)
	if err == nil {
		return true
	}
	if first {
		p.failed(v.Activity, err)
	}
	b.Reset()
	return false
}

// execute writes the page of v in the language of c. first reports whether this
// is the first error.
func (t *Template) execute(w io.Writer, c *catalog, v view) (first bool, err error) {
	made, ok := t.layouts.Load(c)
	if !ok {
		made, _ = t.layouts.LoadOrStore(c, sync.OnceValues(func() (*template.Template, error) { return t.parse(c) }))
	}
	page, err := made.(func() (*template.Template, error))()
	if err == nil {
		err = page.Execute(w, v)
	}
	if err == nil {
		return false, nil
	}
	return t.failed.CompareAndSwap(false, true), placed(err)
}

// parse puts t beside the blocks of the built-in page in the language of c.
func (t *Template) parse(c *catalog) (*template.Template, error) {
	set := c.layout().parse()
	if set.Lookup(t.name) != nil {
		return nil, fmt.Errorf("%s: is the name of a part of the built-in page; name the file otherwise", t.name)
	}
	return set.New(t.name).Parse(t.source)
}

// placed takes from an error of the template packages what stands before the
// file, the line and the column.
func placed(err error) error {
	what := err.Error()
	for _, before := range []string{"html/template: ", "html/template:", "template: "} {
		what = strings.TrimPrefix(what, before)
	}
	return errors.New(what)
}

// lineOf finds the line of a tag in a template; where it cannot, as the template
// only makes it, that is the first.
func lineOf(tag, source string) int {
	before, _, found := strings.Cut(source, tag)
	if !found {
		return 1
	}
	return 1 + strings.Count(before, "\n")
}

// checkMarkup refuses a page of which a browser would leave something out, by
// the page's policy, and one that has the built-in script without what it needs.
// With its error it returns the tag that is wrong, as it stands in the page.
func checkMarkup(page []byte, nonce string) (tag string, err error) {
	var scripted, line, lost, elsewhere bool
	tokens := html.NewTokenizer(bytes.NewReader(page))
	for {
		kind := tokens.Next()
		if kind == html.ErrorToken {
			break // the end: a tokenizer takes anything for HTML
		}
		if kind != html.StartTagToken && kind != html.SelfClosingTagToken {
			continue
		}
		raw := string(tokens.Raw())
		token := tokens.Token()
		has := map[string]string{}
		for _, a := range token.Attr {
			has[a.Key] = a.Val
			if a.Key == "style" || strings.HasPrefix(a.Key, "on") {
				return raw, fmt.Errorf("<%s %s=…>: browsers ignore it on this page; use a <style> or <script> with nonce=\"{{.Nonce}}\"", token.Data, a.Key)
			}
		}
		id, part := has["id"], has["data-part"]
		code := token.Data == "style" || token.Data == "script" && !strings.HasSuffix(has["type"], "json")
		if code && has["nonce"] != nonce {
			return raw, fmt.Errorf("<%s>: has no nonce=\"{{.Nonce}}\"; browsers ignore it without", token.Data)
		}
		scripted = scripted || token.Data == "script" && id == "status"
		line = line || id == "page" && has["data-activity"] != ""
		lost = lost || part == "lost"
		elsewhere = elsewhere || part == "elsewhere"
	}
	switch {
	case scripted && !line:
		return "", errors.New(`the script needs an element id="page" with {{template "data" .}}`)
	case scripted && !(lost && elsewhere):
		return "", errors.New(`the script needs {{template "notices" .}} within the element id="page"`)
	}
	return "", nil
}
