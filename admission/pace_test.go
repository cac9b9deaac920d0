package admission

import (
	"testing"
	"time"
)

// runPace feeds a pace the readings of a line that turns the given number of
// visitors a second, for some time.
func runPace(limits Limits, perSecond float64, sessions int64, d time.Duration) pace {
	var p pace
	h := Head{Now: 1, Floor: Floor{Epoch: 1}, Waiting: 1000, Limits: limits, Sessions: sessions}
	turned := 0.0
	for at := time.Duration(0); at <= d; at += Tick {
		h.Now = Instant(1).Add(at)
		h.Turned = int64(turned)
		turned += perSecond * Tick.Seconds()
		p = p.observe(h)
	}
	return p
}

func TestPace_BandHoldsTheMeasuredFlowAndNarrows(t *testing.T) {
	limits := Limits{Capacity: 100}
	var width float64
	for i, d := range []time.Duration{20 * time.Second, time.Minute, 5 * time.Minute} {
		w := runPace(limits, 2, 100, d).wait(400, 100) // 400 at two a second: 200 s
		if !w.Known || w.Low > 200*time.Second || w.High < 200*time.Second {
			t.Fatalf("after %s: %+v, want a band around 200s", d, w)
		}
		relative := float64(w.High-w.Low) / float64(200*time.Second)
		if i > 0 && relative >= width {
			t.Errorf("after %s the band is %.2f wide, it was %.2f", d, relative, width)
		}
		width = relative
	}
	if width > 0.4 {
		t.Errorf("after five minutes the band is %.2f of the wait wide, want at most 0.4", width)
	}
}

func TestPace_SaysNothingItDoesNotKnow(t *testing.T) {
	full := Limits{Capacity: 100}
	held := full
	held.Mode = ModeHold
	for name, c := range map[string]struct {
		pace     pace
		position int64
	}{
		"never observed":     {pace{}, 5},
		"nobody ever turned": {runPace(full, 0, 100, time.Minute), 5},
		"paused":             {runPace(held, 2, 100, time.Minute), 5},
		"no position":        {runPace(full, 2, 100, time.Minute), 0},
	} {
		if w := c.pace.wait(c.position, 100); w.Known {
			t.Errorf("%s: %+v, want unknown", name, w)
		}
	}
}

func TestPace_RateAloneIsKnownFromTheFirstTick(t *testing.T) {
	w := runPace(Limits{RatePerHour: 7200}, 0, 0, Tick).wait(60, 0) // 60 at two a second
	if !w.Known || w.Low < 25*time.Second || w.High > 36*time.Second {
		t.Errorf("got %+v, want a narrow band around 30s", w)
	}
}

func TestPace_ChangedRateIsMeasuredAnew(t *testing.T) {
	p := runPace(Limits{Capacity: 100, RatePerHour: 36_000}, 10, 50, time.Minute)
	h := p.last
	h.Limits.RatePerHour = 3600
	h.Now = h.Now.Add(Tick)
	if w := p.observe(h).wait(60, 50); w.Low < 50*time.Second {
		t.Errorf("the rate was cut to one a second: %+v for 60 ahead, want about a minute", w)
	}
}

func TestPoll_CrowdStaysWithinTheBudgetAndPresenceNeverLapses(t *testing.T) {
	poll := Poll{Min: 2 * time.Second, Max: time.Minute, Budget: 2000}
	for _, set := range []time.Duration{30 * time.Second, 3 * time.Minute} {
		for _, crowd := range []int64{1, 100, 10_000, 1_000_000, 10_000_000} {
			absence := poll.absence(set, crowd)
			for _, position := range []int64{1, crowd/2 + 1, crowd} {
				for _, wait := range []Wait{{}, {Known: true, Low: time.Duration(position) * time.Second / 10, High: time.Duration(position) * time.Second}} {
					after, most := poll.after(wait, position, crowd, absence)
					if after < poll.Min*9/10 || most > absence/3+time.Second {
						t.Errorf("absence %s, %d waiting, position %d: ask after %s, at most %s, present for %s", set, crowd, position, after, most, absence)
					}
					if least := time.Duration(float64(crowd) / poll.Budget * float64(time.Second)); after < least*9/10 {
						t.Errorf("%d waiting ask every %s, beyond the budget of %.0f/s", crowd, after, poll.Budget)
					}
				}
			}
		}
	}
}

func TestPoll_SoonNearTheFrontSeldomFarBack(t *testing.T) {
	poll := Poll{Min: 2 * time.Second, Max: time.Minute, Budget: 2000}
	near, _ := poll.after(Wait{Known: true, Low: 5 * time.Second, High: 10 * time.Second}, 1, 5000, 3*time.Minute)
	far, _ := poll.after(Wait{Known: true, Low: time.Hour, High: 2 * time.Hour}, 5000, 5000, 3*time.Minute)
	if near > 3*time.Second || far < 50*time.Second {
		t.Errorf("near the front: ask after %s, far back: %s", near, far)
	}
}

// What a line that lost its data counts begins anew, or further back.
func TestPace_ALossIsNoFlow(t *testing.T) {
	limits := Limits{Capacity: 100}
	p := runPace(limits, 2, 100, 5*time.Minute)
	before := p.wait(400, 100)
	h := p.last
	for _, loss := range []Head{
		{Now: h.Now.Add(Tick), Floor: Floor{Epoch: 1}, Born: h.Now.Add(Tick), Settling: true, Limits: limits},
		{Now: h.Now.Add(Tick), Floor: Floor{Epoch: 1}, Turned: h.Turned - 50, Waiting: 950, Settling: true, Limits: limits, Sessions: 100},
	} {
		whole := h
		whole.Now, whole.Born = loss.Now.Add(settleTime), loss.Now.Add(settleTime)
		whole.Turned, whole.Issued = loss.Turned, h.Issued+leap
		lost := p
		for _, h := range []Head{loss, whole} {
			lost = lost.observe(h)
		}
		if after := lost.wait(400, 100); after != before {
			t.Errorf("after a loss: %+v, want %+v", after, before)
		}
	}
}
