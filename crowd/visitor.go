package crowd

import (
	"cmp"
	"encoding/base64"
	"math/rand/v2"
	"strings"
	"time"
)

// Plan is who comes, and what they do.
type Plan struct {
	Arrivals Arrivals
	Seed     uint64

	Patience Spread  // who waits longer gives up; zero: nobody does
	NoShow   float64 // the share that is away when its turn comes
	Late     float64 // the share that comes in only when its first turn has lapsed
	Pages    Span    // looked at inside, at least 1
	Think    Spread  // the time between them
	Leave    float64 // the share that says it leaves; the others are just gone
	Bots     float64 // the share that keeps no cookies, and asks again and again
	Forgers  float64 // the share that tries worthless tickets now and then
}

// stage is where a visitor is in its life.
type stage uint8

const (
	coming stage = iota // has no place yet
	lining              // has a place
	inside
	leaving
	gone
)

// end is how a visitor's life ended, for the report.
type end uint8

const (
	stillThere   end = iota // when the run was over
	served                  // looked at all it wanted
	gaveUp                  // had no more patience
	noShow                  // was not there when its turn came
	turnedAway              // the activity is over
	sessionEnded            // while it was still looking
	lostPlace               // was told that it is new
	troubled                // got errors only
	botDone
	ends
)

var endNames = [ends]string{"still there", "served", "gave up", "not there in time", "turned away", "out of session", "lost the place", "errors only", "bots"}

// visitor is one of the crowd: what it has, and what it does next. It is a state
// machine that next moves on. There are as many as come, so it is small.
type visitor struct {
	due      Micros // of the request to be sent next
	came     Micros
	giveUp   Micros // 0: never
	id       int64
	jar      jar
	used     string // a forger's queue token, once it went in
	kind     Kind   // of the request to be sent next
	number   int64
	failures int32
	pages    int32 // left to look at
	network  int32
	stage    stage
	end      end
	bot      bool
	forger   bool
	away     bool // will not come when its turn comes
	late     bool // will not before it has lapsed
	polite   bool // says that it leaves
	forged   uint8
}

// newVisitor is one that comes now.
func newVisitor(id int64, now Micros, p *Plan, networks int, chance *rand.Rand) *visitor {
	v := &visitor{
		id: id, came: now, due: now, kind: Join, network: int32(chance.IntN(networks)),
		away: chance.Float64() < p.NoShow, polite: chance.Float64() < p.Leave, forger: chance.Float64() < p.Forgers,
		pages: int32(max(1, p.Pages.draw(chance))),
	}
	if patience := p.Patience.draw(chance); patience > 0 {
		v.giveUp = now + micros(patience)
	}
	v.late = p.Late > 0 && chance.Float64() < p.Late // no chance is drawn where there was none before
	if v.bot = chance.Float64() < p.Bots; v.bot {
		v.forger = false
		v.pages = int32(5 + chance.IntN(16))
	}
	return v
}

// asks is the kind of a request for the page, by the cookies that it has.
func (v *visitor) asks(t *Target) Kind {
	switch {
	case v.jar.ticket(t.admission) != "":
		return Browse
	case v.jar.ticket(t.queue) != "":
		return Enter
	}
	return Join
}

const (
	mostFailures = 8 // in a row, before a visitor gives up

	// reaction is how long a page takes to load again when it is its turn.
	leastReaction = 50 * time.Millisecond
	mostReaction  = 400 * time.Millisecond
)

// next takes an answer and tells what the visitor does next, and when; it sets
// stage to gone where that is nothing. Its cookies are the jar's already.
func (v *visitor) next(t *Target, a answer, now Micros, p *Plan, chance *rand.Rand) (kind Kind, after time.Duration) {
	over := func(how end) (Kind, time.Duration) {
		v.stage, v.end = gone, how
		return "", 0
	}
	if v.bot {
		if v.pages--; v.pages <= 0 {
			return over(botDone)
		}
		return Join, p.Think.draw(chance)
	}
	unheard := a.code == 0 || a.state == Refused || v.kind == Leave && a.status.Unavailable
	if v.stage == leaving && (v.kind == Forge || !unheard) {
		if v.kind == Leave && v.forger && v.used != "" {
			return Forge, time.Second
		}
		return over(v.end)
	}
	if unheard {
		if v.failures++; v.failures >= mostFailures {
			return over(troubled)
		}
		// As the page does: twice as long each time, and not all at once.
		pause := min(time.Minute, time.Second<<v.failures)
		return v.again(t), time.Duration(float64(pause) * (0.5 + chance.Float64()))
	}
	v.failures = 0
	leave := func(how end) (Kind, time.Duration) {
		if !v.polite {
			return over(how)
		}
		v.stage, v.end = leaving, how
		return Leave, 0
	}
	switch {
	case v.kind == Forge: // it has learned nothing
		return Poll, time.Second
	case a.state == Passed:
		v.stage = inside
		if v.pages--; v.pages <= 0 {
			return leave(served)
		}
		return v.asks(t), p.Think.draw(chance)
	case v.stage == inside && v.kind != Poll:
		return over(sessionEnded)
	case a.worked != nil:
		return v.asks(t), 0
	case a.state == Unread: // the page does not tell: ask
		return Poll, 0
	case a.state == Ready || a.state == Admitted || a.status.Lapsed && !a.status.Unavailable:
		switch {
		case v.away:
			return over(noShow)
		case v.late && !a.status.Lapsed && a.state == Ready:
			return Poll, max(leastReaction, time.Duration(a.status.PollAfter)*time.Millisecond)
		}
		v.late = false
		return v.asks(t), leastReaction + rand.N(mostReaction-leastReaction)
	case v.giveUp > 0 && now >= v.giveUp:
		return leave(gaveUp)
	case a.status.PollAfter == 0:
		return over(turnedAway)
	}
	pause := time.Duration(a.status.PollAfter) * time.Millisecond
	if v.giveUp > 0 {
		pause = min(pause, (v.giveUp - now).Duration())
	}
	v.number = a.status.Number
	if v.jar.ticket(t.queue) == "" || a.state == New && !a.status.Unavailable {
		if v.stage == lining && v.kind == Enter {
			return over(lostPlace)
		}
		return v.asks(t), pause
	}
	v.stage = lining
	if v.forger && v.number > 0 && chance.IntN(4) == 0 {
		return Forge, pause
	}
	return Poll, pause
}

// again is the request that an answer did not come to.
func (v *visitor) again(t *Target) Kind {
	if v.kind == Poll || v.kind == Leave {
		return v.kind
	}
	return v.asks(t)
}

// forge makes the Cookie header of a worthless ticket, a different one each
// time, and tells the number that it names.
func (v *visitor) forge(t *Target) (header string, number int64) {
	token := v.jar.ticket(t.queue)
	if v.stage == leaving {
		token = v.used // used up: its session has ended
	}
	c, _ := readToken(token)
	head, rest, _ := strings.Cut(token, ".")
	payload, signature, _ := strings.Cut(rest, ".")
	name := t.queue
	switch v.forged++; {
	case v.stage == leaving:
	case v.forged%4 == 1: // signed by somebody else
		signature = base64.RawURLEncoding.EncodeToString(randomBytes(32))
	case v.forged%4 == 2: // not signed at all
		head, signature = base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`)), ""
	case v.forged%4 == 3: // a place, shown as an admission
		name = t.admission
	default: // cut off
		signature = signature[:len(signature)/2]
	}
	return name + "=" + head + "." + payload + "." + signature, cmp.Or(c.Number, v.number) // a drawn ticket names no number
}
