package waitpage

import (
	"bytes"
	"html/template"
	"strings"
	text "text/template"
	"unicode/utf8"

	"github.com/ropeline/ropeline/admission"
	"github.com/ropeline/ropeline/web"
)

// view is what the page's template reads of one visitor, and what an operator's
// does: docs/visitors.md lists it, and no name in it may change.
type view struct {
	Nonce    string
	Lang     string // of the page, as en or zh-Hant
	Dir      string // in which it is written: ltr or rtl
	Name     string
	Shop     string       // the shop's name; "": none
	Logo     template.URL // "": none
	Icon     string       // its colour, six digits
	Theme    template.CSS // after the page's own style; "": none
	State    string
	Activity int64
	Ticket   string           // "": none, or no number drawn yet
	Placed   bool             // has a place to leave
	Draw     *admission.Proof // nil: there is none
	Message  string
	Words    words
	Long     bool // the large figure needs a smaller type
	Work     bool // the visitor's device has something to do first
	Enter    bool // asking again would help
	Refresh  bool // without scripts the page may load itself again
	Form     *heldForm
	Base     string        // the reserved prefix and a slash
	To       string        // where the page stands, for who chooses a language; "": it is no address
	Options  template.HTML // the languages to choose from; "": there is no choice
	Status   template.JS   // the status document, its <, > and & escaped
	Line     admission.Status
}

// layout is the page in one language, before it is one visitor's.
type layout struct {
	parse    func() *template.Template // anew: one that was executed takes no more templates
	template *template.Template        // of a view
	parts    []packed                  // what every page has, or every page of a draw or of work
}

// newLayout makes the page's layout in the language of c. It fills in, between
// [[ and ]], what is the same for every visitor, and leaves to each visit what
// stands between {{ and }}. html/template then sees the style and the script in
// their places: it drops their comments and knows every context.
func newLayout(c *catalog) *layout {
	var source strings.Builder
	err := text.Must(text.New("waitpage").Delims("[[", "]]").Parse(web.Page)).Execute(&source, struct {
		Lang, Style, Hash, Check, Work, Client, Script string
		Words                                          *catalog
	}{
		c.lang, squeezeStyle(web.PageStyle), squeeze(web.Hash), squeeze(web.Draw), squeeze(web.Work),
		squeeze(web.Client), squeeze(web.PageScript), c,
	})
	if err != nil {
		panic(err) // of embedded files only
	}
	parse := func() *template.Template { return template.Must(template.New("waitpage").Parse(source.String())) }
	page := parse()

	// html/template takes out comments, so the parts are as they come out of it.
	var sample bytes.Buffer
	if err := page.Execute(&sample, view{Draw: &admission.Proof{}, Work: true}); err != nil {
		panic(err) // of embedded files only
	}
	_, rest, _ := bytes.Cut(sample.Bytes(), []byte(`<style nonce="">`))
	style, rest, _ := bytes.Cut(rest, []byte("</style>"))
	parts := []packed{pack(style)}
	for _, opens := range []string{`<script nonce="">`, `<script nonce="">`, `<script nonce="">`, `data-base="">`} {
		_, rest, _ = bytes.Cut(rest, []byte(opens))
		var script []byte
		script, rest, _ = bytes.Cut(rest, []byte("</script>"))
		parts = append(parts, pack(script))
	}
	return &layout{parse, page, parts}
}

// squeeze takes indentation, empty lines and lines that are all comment out of
// a script: a quarter of the page, which must fit into the first flight of a TCP
// connection.
func squeeze(source string) string {
	var b strings.Builder
	for line := range strings.Lines(source) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "//") {
			continue
		}
		b.WriteString(line)
		b.WriteByte('\n')
	}
	return b.String()
}

// squeezeStyle does the same to a style sheet that has no comment at the end of
// a line, and takes out the space that CSS does not need as well. No string of
// ours holds any of the pairs.
func squeezeStyle(source string) string {
	return strings.NewReplacer("\n", "", ": ", ":", "; ", ";", ", ", ",", " {", "{", "{ ", "{").Replace(squeeze(source))
}

// mayEnter reports whether the same request, made again now, would enter, join,
// or win back the place that a missed turn cost.
func mayEnter(s admission.Status) bool {
	switch s.State {
	case admission.StateReady, admission.StateAdmitted:
		return true
	case admission.StateNew:
		return !s.Unavailable && s.Work.Bits == 0
	}
	return s.Lapsed && !s.Unavailable
}

func (c *catalog) view(s admission.Status, name string, form *heldForm, nonce string) view {
	w := c.words(s, name, seen{})
	v := view{
		Nonce:    nonce,
		Lang:     c.lang,
		Dir:      c.Direction,
		Line:     s,
		Name:     plain(name),
		State:    string(s.State),
		Activity: s.Activity,
		Message:  s.Message,
		Words:    w,
		Long:     utf8.RuneCountInString(w.Heading[1]) > 5 || strings.Contains(w.Heading[1], " "),
		Enter:    mayEnter(s),
		Refresh:  form == nil && s.State != admission.StateEnded && s.Work.Bits == 0,
		Work:     s.Work.Bits > 0,
		Form:     form,
		Placed:   s.Number > 0 || s.Draw.Indexed,
		Status:   template.JS(appendStatus(nil, s, "", nil)),
	}
	if s.Number > 0 {
		v.Ticket = fill(c.Ticket, "{n}", c.number(s.Number))
	}
	if s.Draw.Commitment != "" {
		v.Draw = &s.Draw
	}
	return v
}
