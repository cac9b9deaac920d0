package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"go.uber.org/zap"

	"github.com/ropeline/ropeline/admission"
	"github.com/ropeline/ropeline/visitor"
)

// QueueRoom is the line of one activity, as the queue API asks it.
// Implementations are safe for concurrent use.
type QueueRoom interface {
	// Enter takes a place for a visitor who will ask for its turn by Claim.
	Enter(ctx context.Context, v admission.Visit) admission.Entered
	// Claim tells who holds a place where it stands, and takes its turn as
	// soon as there is one.
	Claim(ctx context.Context, v admission.Visit) admission.Verdict
	// Figures tells the limits in force.
	Figures() admission.Figures
}

// Line is what the queue API needs of an activity.
type Line struct {
	ID     int64
	Tenant string
	Room   QueueRoom
}

// QueueOptions are what a queue API is made of. The funcs are asked anew for
// each request, so that a reload changes what they say.
type QueueOptions struct {
	// Lines finds an activity by its id.
	Lines func(id int64) (Line, bool)

	// EnterLimit is how often one network may enter per hour, and how often at
	// once. 0 per hour: as often as it likes.
	EnterLimit func() (perHour, burst int64)

	// Bearer verifies the shop's tokens; nil: there are none. Where required
	// is set, who brings none is refused. nil: none and not required.
	Bearer func() (v *Verifier, required bool)

	// Origins are those whose pages may call; "*" is all. nil: none.
	Origins func() []string

	Failed func(Code) // is told of each error that is answered; nil: nobody is
	Log    *zap.Logger
	Now    func() time.Time // nil: time.Now
}

// Queue is the queue API: what shops with apps and single-page sites join and
// poll by. It serves paths under /api/v1/queue/, and is safe for concurrent
// use.
type Queue struct {
	QueueOptions
	routes routes
	limit  *limiter
}

// NewQueue returns a queue API.
func NewQueue(o QueueOptions) *Queue {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Bearer == nil {
		o.Bearer = func() (*Verifier, bool) { return nil, false }
	}
	if o.Origins == nil {
		o.Origins = func() []string { return nil }
	}
	q := &Queue{QueueOptions: o, limit: newLimiter()}
	q.routes = routes{log: o.Log.Named("queue"), failed: o.Failed, first: q.crossOrigin, all: []route{
		{http.MethodPost, "/api/v1/queue/enter", q.enter},
		{http.MethodGet, "/api/v1/queue/status", q.status},
	}}
	return q
}

// ServeHTTP answers one request.
func (q *Queue) ServeHTTP(w http.ResponseWriter, r *http.Request) { q.routes.ServeHTTP(w, r) }

// crossOrigin lets pages of the configured origins read the answers, and
// answers what browsers ask before they call. No cookie is looked at here, so
// none is ever let in from elsewhere.
func (q *Queue) crossOrigin(c *call) (bool, error) {
	origins := q.Origins()
	if len(origins) == 0 {
		return false, nil
	}
	c.answer.Add("Vary", "Origin")
	origin := c.Header.Get("Origin")
	preflight := c.Method == http.MethodOptions && origin != "" && c.Header.Get("Access-Control-Request-Method") != ""
	switch {
	case origin == "":
		return false, nil
	case slices.Contains(origins, origin):
		c.answer.Set("Access-Control-Allow-Origin", origin)
	case slices.Contains(origins, "*"):
		c.answer.Set("Access-Control-Allow-Origin", "*")
	case preflight:
		return false, refused(Forbidden, sayNoOrigin)
	default:
		return false, nil
	}
	c.answer.Set("Access-Control-Expose-Headers", "Retry-After, X-Request-Id")
	if preflight {
		c.answer.Set("Access-Control-Allow-Methods", "GET, POST")
		c.answer.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, X-Request-Id")
		c.answer.Set("Access-Control-Max-Age", "600")
	}
	return preflight, nil
}

const (
	// largestEnter bounds the body of an entry, in bytes.
	largestEnter = 8 << 10

	largestActivity = 1<<53 - 1 // exact in JavaScript

	longestUserHash    = 64
	longestFingerprint = 128
	longestWork        = 128
)

// undrawn is the seq of a visitor whose number is not drawn yet; who was told it
// may go on asking with it.
const undrawn = "0"

// openPlace is the session_id of a visitor of a line whose mode is open. It is
// no token: there is no place, and everyone passes.
const openPlace = "open"

// wait is an estimate in seconds; without bounds where it is not known.
type wait struct {
	Known bool   `json:"known"`
	Low   *int64 `json:"low_s"`
	High  *int64 `json:"high_s"`
}

func waitOf(w admission.Wait) wait {
	if !w.Known {
		return wait{}
	}
	low, high := int64(w.Low/time.Second), ceil(w.High, time.Second)
	return wait{true, &low, &high}
}

// place is what both endpoints tell of a place in line.
type place struct {
	Seq             int64  `json:"seq"`
	SessionID       string `json:"session_id"`
	QueueLength     int64  `json:"queue_length"`
	EstimatedWait   int64  `json:"estimated_wait"`   // s, at most; 0 where it is not known
	PollingInterval int64  `json:"polling_interval"` // ms
	Wait            wait   `json:"wait"`
}

func placeOf(s admission.Status, session string) place {
	p := place{
		Seq: s.Number, SessionID: session, QueueLength: s.QueueLength,
		PollingInterval: ceil(s.PollAfter, time.Millisecond),
		Wait:            waitOf(s.Wait),
	}
	if p.Wait.Known {
		p.EstimatedWait = *p.Wait.High
	}
	return p
}

type entered struct {
	RequestID string `json:"request_id"`
	place
}

// enter takes a place in line.
func (q *Queue) enter(c *call) (any, error) {
	shop, err := q.shop(c)
	if err != nil {
		return nil, err
	}
	body, err := c.body(largestEnter, false)
	if err != nil {
		return nil, err
	}
	var activity int64
	var user, fingerprint, work string
	if err := errors.Join(
		body.read("activity_id", &activity, anInteger),
		body.read("user_hash", &user, aText),
		body.read("fingerprint", &fingerprint, aText),
		body.read("work", &work, aText),
	); err != nil {
		return nil, err
	}
	if activity < 1 || activity > largestActivity {
		return nil, wrong("activity_id", sayRange, 1, largestActivity)
	}
	if user == "" {
		user = shop.Subject
	} else if err := line("user_hash", user, 1, longestUserHash); err != nil {
		return nil, err
	}
	if user == "" {
		return nil, wrong("user_hash", sayMissing)
	}
	if n := utf8.RuneCountInString(fingerprint); n > longestFingerprint {
		return nil, wrong("fingerprint", sayLength, 0, longestFingerprint)
	}
	if n := utf8.RuneCountInString(work); n > longestWork {
		return nil, wrong("work", sayLength, 0, longestWork)
	}
	if shop.Subject != "" && user != shop.Subject {
		return nil, refused(Forbidden, sayOtherUser).with("field", "user_hash")
	}
	line, err := q.line(activity, shop)
	if err != nil {
		return nil, err
	}
	client := visitor.From(c.Request).Client
	perHour, burst := q.EnterLimit()
	if after := q.limit.take(client, perHour, burst, q.Now()); after > 0 {
		return nil, tooMany(after)
	}
	e := line.Room.Enter(c.Context(), admission.Visit{
		Network: client, Agent: c.UserAgent(), Identity: user, Work: work, Vouched: shop.Subject != "",
	})
	if e.Reason != "" {
		return q.notEntered(c, e)
	}
	p := placeOf(e.Status, e.Queue.Token)
	if !e.Again {
		return entered{c.id, p}, nil
	}
	again := refused(UserAlreadyQueued, sayAgain)
	for name, value := range map[string]any{
		"seq": p.Seq, "session_id": p.SessionID, "queue_length": p.QueueLength, "position": e.Status.Position,
		"estimated_wait": p.EstimatedWait, "polling_interval": p.PollingInterval, "wait": p.Wait,
	} {
		again.with(name, value)
	}
	return nil, again
}

// notEntered tells why there is no place.
func (q *Queue) notEntered(c *call, e admission.Entered) (any, error) {
	says := sayClosed
	switch e.Reason {
	case admission.PassOpen:
		// Not an error: a shop that shows one would shut out, by the operator
		// opening the gate to everyone, exactly those who come by the API.
		return entered{c.id, placeOf(admission.Status{PollAfter: e.Status.PollAfter, Wait: admission.Wait{Known: true}}, openPlace)}, nil
	case admission.HoldWork:
		return nil, refused(WorkRequired, sayWork).with("challenge", e.Status.Work.Text).with("bits", e.Status.Work.Bits)
	case admission.HoldLimited:
		return nil, tooMany(e.Status.PollAfter)
	case admission.HoldUnavailable:
		// No cause: the room itself logs that the store is away, once.
		f := refused(StoreUnavailable, sayStoreAway)
		f.retryAfter = max(e.Status.PollAfter, time.Second)
		return nil, f
	case admission.HoldBefore:
		says = sayBefore
	case admission.HoldEnded:
		says = sayOver
		if e.Status.Stock.SoldOut() {
			says = saySoldOut
		}
	case admission.HoldFull:
		says = sayFull
	}
	f := refused(ActivityNotActive, says).with("reason", reasonOf(e.Reason, e.Status.Stock))
	if e.Reason == admission.HoldBefore {
		f.with("starts_at", e.Status.StartsAt.UTC().Format(time.RFC3339))
	}
	return nil, f
}

// soldOut is the reason where an activity is over as long as nothing is left.
const soldOut = "sold_out"

func reasonOf(r admission.Reason, stock admission.Stock) string {
	if r == admission.HoldEnded && stock.SoldOut() {
		return soldOut
	}
	return string(r)
}

func tooMany(after time.Duration) *fault {
	after = max(after, time.Second)
	f := refused(RateLimited, sayLimited, ceil(after, time.Second))
	f.retryAfter = after
	return f
}

// What a place in line may be.
const (
	waiting = "waiting"
	ready   = "ready"
	expired = "expired"
)

type standing struct {
	ActivityID int64 `json:"activity_id"`
	place
	Position       int64  `json:"position"`
	Status         string `json:"status"`
	Paused         bool   `json:"paused"`
	Message        string `json:"message"`
	Reason         string `json:"reason,omitempty"`          // expired: ended or sold_out, where the activity is over
	Stock          *left  `json:"stock,omitempty"`           // where visitors are told
	AdmissionToken string `json:"admission_token,omitempty"` // ready
}

// left is what is left to sell.
type left struct {
	Left int64 `json:"left"`
}

// afterExpiry is when who has no place any more may ask again: to poll on is
// of no use, and not to be hurried.
const afterExpiry = time.Minute

// status tells where a place stands. A ready one gets its admission.
func (q *Queue) status(c *call) (any, error) {
	query, err := c.query()
	if err != nil {
		return nil, err
	}
	activity, ok := number(query.get("activity_id"))
	switch {
	case query.get("activity_id") == "":
		return nil, wrong("activity_id", sayMissing)
	case !ok || activity > largestActivity:
		return nil, wrong("activity_id", sayRange, 1, largestActivity)
	}
	session, shop, err := q.session(c, query.get("session_id"))
	if err != nil {
		return nil, err
	}
	if session == "" {
		return nil, wrong("session_id", sayMissing)
	}
	line, err := q.line(activity, shop)
	if err != nil {
		return nil, err
	}
	v := line.Room.Claim(c.Context(), admission.Visit{
		QueueTokens: []string{session}, Network: visitor.From(c.Request).Client, Agent: c.UserAgent(),
	})
	if v.Pass {
		v.Status.Number = v.Session.Number
	}
	if _, asked := query["seq"]; asked && v.Status.Number > 0 && query.get("seq") != undrawn {
		if seq := query.get("seq"); seq != strconv.FormatInt(v.Status.Number, 10) {
			return nil, refused(InvalidSequence, saySequence).with("field", "seq")
		}
	}
	if v.Queue.Token != "" {
		session = v.Queue.Token
	}
	figures := line.Room.Figures()
	answer := standing{ActivityID: activity, Status: waiting, Message: v.Status.Message}
	switch {
	case v.Pass:
		v.Status.Wait = admission.Wait{Known: true}
		v.Status.QueueLength = figures.Waiting + figures.Turns + figures.Awaited
		answer.Status, answer.AdmissionToken = ready, v.Admission.Token
	case !figures.Stale && figures.Limits.Mode == admission.ModeOpen:
		// Everyone passes, with or without a place: no admission is needed.
		v.Status.Wait, v.Status.PollAfter = admission.Wait{Known: true}, 0
		answer.Status = ready
	case v.Status.State == admission.StateEnded:
		v.Status.Wait, v.Status.PollAfter = admission.Wait{}, afterExpiry
		answer.Status, answer.Reason = expired, reasonOf(admission.HoldEnded, v.Status.Stock)
	case v.Status.Draw.Indexed && v.Status.Number == 0: // has a place, and its number will be drawn
		answer.Paused = v.Status.Unavailable
	case v.Status.Number == 0:
		v.Status.Wait, v.Status.PollAfter = admission.Wait{}, afterExpiry
		answer.Status = expired
	default:
		answer.Position = max(1, v.Status.Position)
		answer.Paused = v.Status.Paused || v.Status.Unavailable
	}
	if v.Status.Stock.Counted {
		answer.Stock = &left{v.Status.Stock.Left}
	}
	answer.place = placeOf(v.Status, session)
	return answer, nil
}

// session returns the place that a request asks for, and what the shop says of
// its bearer. A bearer token is the place itself, unless the query has that:
// then, where the shop's tokens are known, it is the shop's.
func (q *Queue) session(c *call, asked string) (string, Claims, error) {
	if verifier, required := q.Bearer(); asked == "" && !required {
		token, err := c.token()
		if err != nil || verifier == nil {
			return token, Claims{}, err
		}
		if _, err := verifier.Verify(token); err != nil {
			return token, Claims{}, nil
		}
	}
	shop, err := q.shop(c)
	return asked, shop, err
}

// shop returns what the shop's token says of its bearer; zero where there is
// none and none is required. A token that is not valid is never passed over.
func (q *Queue) shop(c *call) (Claims, error) {
	verifier, required := q.Bearer()
	if verifier == nil {
		if required {
			return Claims{}, failed(InternalError, errors.New("a token is required and no key to verify it is configured"))
		}
		return Claims{}, nil
	}
	token, err := c.token()
	switch {
	case err != nil:
		return Claims{}, err
	case token == "" && required:
		return Claims{}, refused(Unauthorized, sayNoToken)
	case token == "":
		return Claims{}, nil
	}
	shop, err := verifier.Verify(token)
	if err != nil {
		q.routes.log.Debug("token refused", zap.String("request_id", c.id), zap.Error(err))
		return Claims{}, refused(Unauthorized, sayBadToken)
	}
	if shop.Subject == "" {
		return Claims{}, refused(Unauthorized, sayNoSubject)
	}
	return shop, nil
}

// line finds an activity that the bearer may ask for.
func (q *Queue) line(id int64, shop Claims) (Line, error) {
	line, ok := q.Lines(id)
	if !ok {
		return Line{}, refused(ActivityNotFound, sayNoActivity).with("activity_id", id)
	}
	if shop.TenantID != "" && shop.TenantID != line.Tenant {
		return Line{}, refused(Forbidden, sayOtherTenant)
	}
	return line, nil
}
