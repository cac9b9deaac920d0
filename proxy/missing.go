package proxy

import (
	"context"
	"time"

	"github.com/ropeline/ropeline/admission"
)

// Missing is an activity that is not there, or not yet: no one passes. Its id
// is 0, which no activity has.
func Missing(tenant string) *Activity { return &Activity{Tenant: tenant, Room: missing{}} }

type missing struct{}

func (missing) Arrive(context.Context, admission.Visit) admission.Verdict {
	return admission.Verdict{Reason: admission.HoldClosed, Status: admission.Status{State: admission.StateClosed, UpdatedAt: time.Now()}}
}

func (missing) TakePass(admission.Visit, string) admission.Verdict {
	return admission.Verdict{Reason: admission.HoldClosed}
}

func (missing) Stay(context.Context, admission.Session) (time.Time, bool) { return time.Time{}, false }
func (missing) End(admission.Session)                                     {}
func (missing) Extend(admission.Session)                                  {}
func (missing) Shut(bool)                                                 {}
func (missing) Measured([]admission.Measure)                              {}
func (missing) Converted(admission.Session)                               {}
