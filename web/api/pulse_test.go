package api

import (
	"testing"
	"time"

	"github.com/ropeline/ropeline/admission"
)

func TestPulse_ALineThatBeganAnewHasNoRateOfTheOldOne(t *testing.T) {
	at := func(s int64, change func(*admission.Head)) admission.Head {
		h := admission.Head{Now: admission.InstantOf(time.Unix(1_700_000_000+s, 0)), Born: 1, Turned: s}
		h.Epoch, h.Issued = 1, 10*s
		if change != nil {
			change(&h)
		}
		return h
	}
	for story, c := range map[string]struct {
		now            admission.Head
		enter, release float64
	}{
		"goes on":       {at(130, nil), 10, 1},
		"was reset":     {at(130, func(h *admission.Head) { h.Epoch = 2; h.Issued = 9000 }), 0, 0},
		"lost its data": {at(130, func(h *admission.Head) { h.Born = 2; h.Issued = 1 << 20 }), 0, 0},
		"is long ago":   {at(500, nil), 0, 0},
		"this instant":  {at(100, nil), 0, 0},
	} {
		p := pulse{lines: map[int64]*trail{123: {beatOf(at(100, nil))}}}
		if enter, release := p.rates(123, c.now); enter != c.enter || release != c.release {
			t.Errorf("%s: enter %v/s, release %v/s; want %v and %v", story, enter, release, c.enter, c.release)
		}
	}
}

func TestPulse_KeepsTheLastMinutesAndNoMore(t *testing.T) {
	var kept trail
	at := func(s int) admission.Instant { return admission.InstantOf(time.Unix(int64(1_700_000_000+s), 0)) }
	for s := range 5 * beatsKept {
		kept.add(beat{at: at(s), epoch: 1, issued: int64(s)})
		kept.add(beat{at: at(s), epoch: 1, issued: int64(s)}) // the line was not read since
	}
	p := pulse{lines: map[int64]*trail{123: &kept}}
	all := p.since(123, 0)
	if len(all) != beatsKept || all[0].at != at(4*beatsKept) || all[len(all)-1].at != at(5*beatsKept-1) {
		t.Errorf("%d beats are kept, from %v to %v", len(all), all[0].at.Time(), all[len(all)-1].at.Time())
	}
	if some := p.since(123, at(5*beatsKept-3)); len(some) != 2 || some[0].at != at(5*beatsKept-2) {
		t.Errorf("after the third last there are %d", len(some))
	}
	if cap(kept) > 4*beatsKept {
		t.Errorf("room is held for %d beats", cap(kept))
	}
}

func TestPulse_TellsALatencyAsCloselyAsTheBoundsDo(t *testing.T) {
	bounds := []time.Duration{10 * time.Millisecond, 20 * time.Millisecond, 100 * time.Millisecond}
	look := func(within ...uint64) Upstream {
		return Upstream{Name: "shop", Requests: within[3], Bounds: bounds, Within: within[:3]}
	}
	earlier := look(1000, 1000, 1000, 1000)
	for story, c := range map[string]struct {
		now  Upstream
		want time.Duration
	}{
		"nothing was answered":   {earlier, 0},
		"all within the first":   {look(1100, 1100, 1100, 1100), 9500 * time.Microsecond},
		"half within the second": {look(1050, 1100, 1100, 1100), 19 * time.Millisecond},
		"beyond the last":        {look(1000, 1000, 1000, 1100), 100 * time.Millisecond},
	} {
		if got := c.now.quantile(earlier, 0.95); got != c.want {
			t.Errorf("%s: %v, want %v", story, got, c.want)
		}
	}
}
