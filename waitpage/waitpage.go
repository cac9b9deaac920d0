// Package waitpage is what a visitor without admission meets: the waiting page
// or its JSON twin in place of what they asked for (Hold), and the addresses
// under the reserved prefix by which the page follows the line (ServeHTTP).
//
// Nothing here decides who enters. A room decides; this package says it, in
// words for people and in JSON for programs, and never in a form that a cache
// may keep.
package waitpage

import (
	"bytes"
	"context"
	"sync"

	"github.com/ropeline/ropeline/admission"
)

// Room is the line of one activity. Peek tells where a visitor stands and takes
// no place; Look is the same where nobody asked; Leave gives up the place or the
// session. All may be called by any number of requests at once.
type Room interface {
	Peek(context.Context, admission.Visit) admission.Verdict
	Look(context.Context, admission.Visit) admission.Verdict
	Leave(context.Context, admission.Visit) admission.Verdict
}

// Activity is what visitors are told of an activity, and its room.
type Activity struct {
	// Name is shown to visitors as plain text. Empty: the page does without.
	Name string

	// PageStatus is the HTTP status of the page while a visitor waits. 0: 200.
	PageStatus int

	// Languages are those that the page is offered in. nil: the built-in ones.
	Languages *Languages

	// Theme is how the page looks. nil: as it does by itself.
	Theme *Theme

	// Template is the operator's own page. nil: the built-in one.
	Template *Template

	// Compat is whose names programs find beside our own.
	Compat Compat

	Room Room
}

func (a Activity) theme() *Theme {
	if a.Theme == nil {
		return noTheme
	}
	return a.Theme
}

func (a Activity) languages() *Languages {
	if a.Languages == nil {
		return builtIn()
	}
	return a.Languages
}

// Page is the waiting page with all that belongs to it. It is safe for
// concurrent use and keeps nothing of any visitor but the event streams that are
// open.
type Page struct {
	prefix    string
	activity  func(id int64) (Activity, bool)
	assets    map[string]asset // by file name under assets/
	clientURL string
	failed    func(activity int64, err error)

	streams streams
	buffers sync.Pool // *bytes.Buffer: a page or a status before it is sent
	packers sync.Pool // *flate.Writer
}

// New makes the waiting page of a gateway. prefix is the reserved path prefix,
// such as /_ropeline, without a slash at its end. activity finds an activity by
// its id; it is asked anew by each request, so that a reload takes effect at
// once, and must not block.
//
// What a request says about its visitor is read by visitor.From.
func New(prefix string, activity func(id int64) (Activity, bool)) *Page {
	p := &Page{
		prefix:   prefix,
		activity: activity,
		failed:   func(int64, error) {},
		buffers:  sync.Pool{New: func() any { return new(bytes.Buffer) }},
		packers:  sync.Pool{New: newPacker},
	}
	p.assets, p.clientURL = hashAssets(prefix)
	p.streams.end = make(chan struct{})
	p.AllowStreams(DefaultStreams)
	return p
}

// OnFailure has failed told of the first time that a template of the operator's
// failed, of all since it was made. It is called before p serves.
func (p *Page) OnFailure(failed func(activity int64, err error)) { p.failed = failed }

// largestKept is the largest buffer that goes back to the pool: twice a page. A
// held form makes a page of some hundred KiB, which would otherwise stay.
const largestKept = 64 << 10

func (p *Page) buffer() *bytes.Buffer { return p.buffers.Get().(*bytes.Buffer) }

func (p *Page) release(b *bytes.Buffer) {
	if b.Cap() > largestKept {
		return
	}
	b.Reset()
	p.buffers.Put(b)
}
