package crowd

import "net/http"

// forgeries judges F: a worthless ticket makes its bearer a new visitor, never
// an error, never a pass, never the holder of the place that it names.
type forgeries struct{ findings }

func (r *forgeries) see(l *life, e *Event) {
	if e.Kind != Forge || e.Code == 0 {
		return
	}
	r.cases++
	who := []int64{l.visitor}
	switch {
	case e.State == Refused && !elsewhere(e.Code):
		r.add(e.Got(), who, "visitor %d brought a worthless ticket, and got an error: %d", l.visitor, e.Code)
	case e.State == Passed && (e.Session == nil || e.Session.Number == e.Claimed):
		r.add(e.Got(), who, "visitor %d brought a worthless ticket of number %d, and passed by it", l.visitor, e.Claimed)
	case e.Number != 0 && e.Number == e.Claimed && !e.Unavailable && !l.usedSince(e.Sent-stale):
		r.add(e.Got(), who, "visitor %d brought a worthless ticket of number %d, and was taken for its holder", l.visitor, e.Claimed)
	}
}

func (r *forgeries) judge(Limits) Judgement {
	return r.judgement(Forgeries, "a worthless ticket is a new visitor: no error, no pass", "nobody brought one")
}

// elsewhere reports whether an error says nothing of the ticket: the gateway was
// away, or whoever stands before it had enough of the crowd.
func elsewhere(code int) bool {
	switch code {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}
