package proxy

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/ropeline/ropeline/visitor"
)

// fault is one way in which a request goes wrong: what its sender is told, and
// what the operator reads.
type fault struct {
	status int
	code   string // for programs
	title  string
	text   string // for people; never the cause

	// reason names the fault in logs, and, where an upstream is to blame, in
	// its metric.
	reason   string
	upstream bool
	retry    int // seconds after which to try again; 0: never as it is
}

// The status of a request whose sender left before the answer. No one gets
// it; it stands in the log, as in those of other gateways.
const statusClientGone = 499

// The reasons for which an upstream is to blame: a closed set, which labels
// metrics.
const (
	reasonConnect  = "connect"  // no connection could be made
	reasonTimeout  = "timeout"  // it did not answer in time
	reasonReset    = "reset"    // it closed the connection instead of answering
	reasonTLS      = "tls"      // it could not be spoken to safely
	reasonProtocol = "protocol" // its answer could not be understood
	reasonCut      = "cut"      // it broke its answer off
	reasonDown     = "down"     // none of its servers is well; it was not asked
	reasonOpen     = "breaker"  // it failed too often lately; it was not asked
	reasonBusy     = "busy"     // it had as many requests as it may; it was not asked
)

const (
	titleAway     = "The shop is not answering"
	titleBusy     = "The shop is very busy"
	titleBad      = "This request cannot be answered"
	textAway      = "We could not reach the shop just now. Please try again in a moment."
	textSlow      = "The shop is taking too long to answer. Please try again in a moment."
	textBusy      = "Too many people are asking the shop at the same time. Please try again in a moment."
	textMalformed = "The request was not in a form that we understand."
)

// The faults of requests, found before an upstream is asked or while its body
// is read.
var (
	faultStarting = &fault{503, "STARTING", titleAway, textAway, "starting", false, 2}
	faultStopping = &fault{503, "STOPPING", titleAway, textAway, "stopping", false, 2}
	faultMethod   = &fault{405, "METHOD_NOT_ALLOWED", titleBad, "This method is not available here.", "method", false, 0}
	faultRequest  = &fault{400, "BAD_REQUEST", titleBad, textMalformed, "host", false, 0}
	faultPath     = &fault{400, "BAD_PATH", titleBad, "The address is written in a way that can be read as two different pages.", "path", false, 0}
	faultHost     = &fault{421, "UNKNOWN_HOST", titleBad, "No shop by this name is served here.", "unknown host", false, 0}
	faultNoRoute  = &fault{404, "NOT_FOUND", "There is nothing here", "The address may be misspelt, or the page may have moved.", "no route", false, 0}
	faultLoop     = &fault{508, "LOOP", titleAway, "This shop is not set up as it should be.", "loop", false, 0}
	faultCookies  = &fault{431, "TOO_MANY_COOKIES", titleBad, "Your browser sent more cookies than we can read. Clearing this site’s cookies helps.", "cookies", false, 0}
	faultTooLarge = &fault{413, "BODY_TOO_LARGE", "That is too large", "What was sent is larger than this shop accepts.", "body too large", false, 0}
	faultSlowBody = &fault{408, "BODY_TOO_SLOW", "That took too long", "The connection was too slow for what was sent. Please try again.", "slow body", false, 0}
	faultBadBody  = &fault{400, "BAD_BODY", titleBad, textMalformed, "bad body", false, 0}
	faultGone     = &fault{statusClientGone, "GONE", titleBad, textMalformed, "sender left", false, 0}
)

// The faults of questions that a front asks.
var (
	faultNoFront   = &fault{403, "NOT_A_FRONT", titleBad, "Only proxies that are listed in trusted_proxies may ask here.", "not a front", false, 0}
	faultPreflight = &fault{403, "PREFLIGHT", titleBad, "A bypass rule of method OPTIONS lets preflights pass.", "preflight", false, 0}
)

// faultQuestion is that of one that lacks a header, or has it twice.
func faultQuestion(header string) *fault {
	return &fault{403, "BAD_QUESTION", titleBad, "The front must send the header " + header + ", once.", "no " + header, false, 0}
}

// The faults of upstreams.
var (
	faultConnect  = &fault{502, "UPSTREAM_UNREACHABLE", titleAway, textAway, reasonConnect, true, 5}
	faultTimeout  = &fault{504, "UPSTREAM_TIMEOUT", titleAway, textSlow, reasonTimeout, true, 5}
	faultReset    = &fault{502, "UPSTREAM_UNREACHABLE", titleAway, textAway, reasonReset, true, 5}
	faultTLS      = &fault{502, "UPSTREAM_UNREACHABLE", titleAway, textAway, reasonTLS, true, 5}
	faultDown     = &fault{503, "UPSTREAM_DOWN", titleAway, textAway, reasonDown, true, 5}
	faultOpen     = &fault{503, "UPSTREAM_DOWN", titleAway, textAway, reasonOpen, true, 5}
	faultBusy     = &fault{503, "UPSTREAM_BUSY", titleBusy, textBusy, reasonBusy, true, 5}
	faultProtocol = &fault{502, "UPSTREAM_BAD_ANSWER", titleAway, textAway, reasonProtocol, true, 5}
)

// diagnose tells what went wrong when an upstream was asked, from the error
// and from what was seen of the sender. The sender is looked at first: whoever
// sends a broken body or leaves must not make the shop look broken.
func (x *exchange) diagnose(err error) *fault {
	switch sender := x.body.failure(); {
	case sender == nil:
	case sender == errTooLarge:
		return faultTooLarge
	case errors.Is(sender, os.ErrDeadlineExceeded):
		return faultSlowBody
	case errors.Is(sender, io.ErrUnexpectedEOF), errors.Is(sender, syscall.ECONNRESET), x.Context.Err() != nil:
		return faultGone
	default:
		return faultBadBody
	}
	if x.Context.Err() != nil {
		if errors.Is(context.Cause(x.Context), errStopped) {
			return faultStopping
		}
		return faultGone
	}

	var (
		timeout net.Error
		op      *net.OpError
	)
	switch {
	case errors.Is(err, errDown):
		return faultDown
	case isOpen(err):
		return faultOpen
	case errors.Is(err, errBusy):
		return faultBusy
	case errors.Is(err, errStalled):
		return faultTimeout
	case errors.As(err, &timeout) && timeout.Timeout():
		return faultTimeout
	case errors.As(err, &op) && op.Op == "dial":
		return faultConnect
	case isTLS(err):
		return faultTLS
	case isReset(err):
		return faultReset
	}
	return faultProtocol
}

// errDown is why a request was sent to no server.
var errDown = errors.New("no server of the upstream is well")

// blames reports whether an error is the fault of the server that was asked.
// Where a body was still being sent that cannot be told: a shop that wants no
// such body may close the connection before its answer is read.
func (x *exchange) blames(err error) bool {
	return errors.Is(err, errStalled) || x.diagnose(err).upstream && x.body.begun.Load() == x.body.whole.Load()
}

func isTLS(err error) bool {
	var (
		certificate *tls.CertificateVerificationError
		record      tls.RecordHeaderError
		alert       tls.AlertError
	)
	return errors.As(err, &certificate) || errors.As(err, &record) || errors.As(err, &alert)
}

func isReset(err error) bool {
	for _, reset := range [...]error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, reset) {
			return true
		}
	}
	// The transport's name for an upstream that closed a connection while it
	// was idle. It has no value to compare with.
	return strings.Contains(err.Error(), "server closed idle connection")
}

// fail answers with a fault, unless an answer is under way already.
func (x *exchange) fail(r *http.Request, f *fault) {
	x.reason = f.reason
	if f == faultGone {
		x.outcome = outcomeGone
	}
	w := &x.answer
	if w.hijacked {
		return
	}
	if w.status != 0 {
		panic(http.ErrAbortHandler) // half an answer must not look whole
	}
	if f == faultGone {
		w.status = statusClientGone
		panic(http.ErrAbortHandler) // no one is there to read
	}
	x.gateway.failed(f.code)
	h := w.Header()
	visitor.NoStore(h)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Request-Id", x.who.RequestID)
	if r.ContentLength != 0 {
		h.Set("Connection", "close") // else the server waits for the rest of the body
	}
	if f.retry > 0 {
		h.Set("Retry-After", strconv.Itoa(f.retry))
	}
	text := f.text
	if f.upstream && x.route.Activity != nil {
		text += " Your place is kept."
	}
	if x.who.Kind == visitor.Navigation {
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Content-Security-Policy", faultPolicy)
		w.WriteHeader(f.status)
		if r.Method != http.MethodHead {
			io.WriteString(w, faultPage(f.title, text, x.who.RequestID))
		}
		return
	}
	h.Set("Content-Type", "application/json")
	w.WriteHeader(f.status)
	if r.Method != http.MethodHead {
		json.NewEncoder(w).Encode(struct {
			Error     string `json:"error"`
			Message   string `json:"message"`
			RequestID string `json:"request_id"`
		}{f.code, text, x.who.RequestID})
	}
}

const faultStyle = `:root{color-scheme:light dark}
body{margin:0;min-height:100vh;display:grid;place-items:center;font:1.0625rem/1.6 system-ui,sans-serif;background:Canvas;color:CanvasText}
main{max-width:28rem;padding:2rem}
h1{font-size:1.5rem;line-height:1.25;margin:0 0 .75rem}
p{margin:0 0 1rem}
a{color:inherit}
small{opacity:.65}`

// faultPolicy allows the page its own style, by its hash, and nothing else.
var faultPolicy = func() string {
	sum := sha256.Sum256([]byte(faultStyle))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}()

// faultPage needs no template: its parts are our own sentences and an id that
// holds letters, digits and hyphens only.
func faultPage(title, text, id string) string {
	return strings.Join([]string{
		`<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>`,
		title, `</title><style>`, faultStyle, `</style><main><h1>`, title, `</h1><p>`, text,
		`</p><p><a href="">Try again</a></p><small>`, id, `</small></main></html>`, "\n",
	}, "")
}
