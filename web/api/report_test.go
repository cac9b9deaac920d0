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
		p := pulse{lines: map[int64][]beat{123: {beatOf(at(100, nil))}}}
		if enter, release := p.rates(123, c.now); enter != c.enter || release != c.release {
			t.Errorf("%s: enter %v/s, release %v/s; want %v and %v", story, enter, release, c.enter, c.release)
		}
	}
}
