// Package web holds the files that browsers get. It only embeds them: what they
// mean, and who gets which, is decided by the packages that serve them.
package web

import "embed"

// Page is the html/template source of the waiting page.
//
//go:embed waitpage.html
var Page string

// PageStyle and PageScript are the waiting page's own style and script. They
// travel inside the page: a crowd that comes at once costs one round trip each.
var (
	//go:embed assets/waitpage.css
	PageStyle string
	//go:embed assets/waitpage.js
	PageScript string
)

// Hash is SHA-256, which Draw and Work need before them.
//
//go:embed assets/sha256.js
var Hash string

// Work is the script by which a device does what a gateway asks of it before it
// joins a line. The waiting page of who is asked carries it; with Client it may
// stand in either order.
//
//go:embed assets/work.js
var Work string

// Draw is the script by which the waiting page of a draw checks it. It needs
// nothing of the page but what show fills.
//
//go:embed assets/draw.js
var Draw string

// Client is the script by which a page asks for its visitor's status. The
// waiting page carries it; a shop's own pages may load it.
//
//go:embed assets/client.js
var Client string

// Queue goes behind Client where a shop's own page takes a place by the queue
// API.
//
//go:embed assets/queue.js
var Queue string

// Session goes behind Client where a shop's own page tells its visitors when
// their time ends.
//
//go:embed assets/session.js
var Session string

// Words are the sentences of the waiting page: words/<tag>.json for each
// language, named by its BCP 47 tag.
//
//go:embed words/*.json
var Words embed.FS

// Events goes behind Client where a shop's own page listens to the status. The
// waiting page does without: it must fit into the first flight.
//
//go:embed assets/events.js
var Events string
