package redisstore

import (
	"errors"
	"time"

	"github.com/ropeline/ropeline/admission"
)

// errAnswer is a script that answers what this build does not expect: another
// build's, or a fault of ours.
var errAnswer = errors.New("redis answered in a form that this build does not know")

const (
	headNumbers = 45
	headWords   = 4
)

// head reads what reply in line.lua writes.
func head(n []int64, words []string) admission.Head {
	micros := func(n int64) time.Duration { return time.Duration(n) * time.Microsecond }
	h := admission.Head{
		Now: admission.Instant(n[0]), Floor: admission.Floor{Epoch: n[1], Issued: n[2], Drawn: n[38]},
		Released: n[3], Lost: n[4], Born: admission.Instant(n[5]), Settling: n[6] != 0,
		Waiting: n[7], Turns: n[8], Sessions: n[9], Turned: n[10], Admitted: n[11], Passed: n[43], Awaited: n[44],
		Closing: n[41] != 0,
		Draw:    admission.Draw{Key: words[1], Source: words[2], Beacon: words[3], Later: n[39], Mapped: n[40] != 0},
	}
	if n[17] > 0 { // limits were told
		h.Limits = admission.Limits{
			Mode: modes[n[12]], Capacity: n[13], RatePerHour: n[14], Burst: n[15],
			Claim: micros(n[16]), Absence: micros(n[17]), HoldPlace: micros(n[18]), Idle: micros(n[19]), Max: micros(n[20]),
			JoinsPerHour: n[21], JoinBurst: n[22],
			StartAt: admission.Instant(n[23]).Time(), EndAt: admission.Instant(n[24]).Time(),
			MaxQueue: n[25], StopAt: n[26], Draw: n[36] != 0, Prequeue: micros(n[37]), Shut: n[42] != 0,
		}
		if n[27] > 0 {
			h.Limits.Stock = admission.Stock{Counted: true, Left: n[27] - 1}
		}
	}
	// Of a decision 0 is none, and all else one more than it says.
	o := &h.Overrides
	o.Version = n[28]
	if n[29] > 0 {
		o.Mode = modes[n[29]-1]
	}
	count := func(n int64) *int64 {
		if n == 0 {
			return nil
		}
		n--
		return &n
	}
	instant := func(n int64) *time.Time {
		if n == 0 {
			return nil
		}
		t := admission.Instant(n - 1).Time()
		return &t
	}
	o.Capacity, o.RatePerHour = count(n[30]), count(n[31])
	o.StartAt, o.EndAt = instant(n[32]), instant(n[33])
	o.Left = count(max(0, n[34]-1)) // a stock that is counted is one more already
	if n[35] > 0 {
		o.Message = &words[0]
	}
	return h
}

// listOf reads a list of one kind.
func listOf[T any](answer any) ([]T, error) {
	list, ok := answer.([]any)
	if !ok {
		return nil, errAnswer
	}
	all := make([]T, len(list))
	for i, item := range list {
		if all[i], ok = item.(T); !ok {
			return nil, errAnswer
		}
	}
	return all, nil
}

// rowsOf reads a list of rows of n integers each.
func rowsOf(answer any, n int) ([][]int64, error) {
	list, ok := answer.([]any)
	if !ok {
		return nil, errAnswer
	}
	rows := make([][]int64, len(list))
	for i, item := range list {
		row, err := listOf[int64](item)
		if err != nil || len(row) != n {
			return nil, errAnswer
		}
		rows[i] = row
	}
	return rows, nil
}
