package crowd

import (
	"context"
	"sync/atomic"

	"github.com/ropeline/ropeline/admission"
)

// link is a store as one gateway reaches it.
type link struct {
	admission.Store
	down atomic.Bool
}

func (l *link) err() error {
	if l.down.Load() {
		return admission.ErrUnavailable
	}
	return nil
}

func (l *link) Join(ctx context.Context, call admission.Call, batch string, newcomers []admission.Newcomer) (admission.Head, []admission.Place, error) {
	if err := l.err(); err != nil {
		return admission.Head{}, nil, err
	}
	return l.Store.Join(ctx, call, batch, newcomers)
}

func (l *link) Release(ctx context.Context, call admission.Call, limits admission.Limits, since int64) (admission.Line, error) {
	if err := l.err(); err != nil {
		return admission.Line{}, err
	}
	return l.Store.Release(ctx, call, limits, since)
}

func (l *link) Admit(ctx context.Context, call admission.Call, knocks []admission.Knock) (admission.Head, []admission.Entry, error) {
	if err := l.err(); err != nil {
		return admission.Head{}, nil, err
	}
	return l.Store.Admit(ctx, call, knocks)
}

func (l *link) Renew(ctx context.Context, call admission.Call, visitors []string) (admission.Head, []admission.Entry, error) {
	if err := l.err(); err != nil {
		return admission.Head{}, nil, err
	}
	return l.Store.Renew(ctx, call, visitors)
}

func (l *link) Leave(ctx context.Context, call admission.Call, departures []admission.Departure) (admission.Head, error) {
	if err := l.err(); err != nil {
		return admission.Head{}, err
	}
	return l.Store.Leave(ctx, call, departures)
}

func (l *link) Present(ctx context.Context, call admission.Call, heard []admission.Piece) (admission.Head, error) {
	if err := l.err(); err != nil {
		return admission.Head{}, err
	}
	return l.Store.Present(ctx, call, heard)
}
