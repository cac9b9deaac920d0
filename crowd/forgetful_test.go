package crowd

import (
	"context"
	"sync/atomic"

	"github.com/ropeline/ropeline/admission"
)

// forgetful is a store that can lose all it has, as one that is restarted empty.
type forgetful struct {
	kept atomic.Pointer[admission.MemoryStore]
}

func newForgetful() *forgetful {
	f := &forgetful{}
	f.forget()
	return f
}

func (f *forgetful) forget() { f.kept.Store(admission.NewMemory(nil)) }

func (f *forgetful) Join(ctx context.Context, call admission.Call, batch string, newcomers []admission.Newcomer) (admission.Head, []admission.Place, error) {
	return f.kept.Load().Join(ctx, call, batch, newcomers)
}

func (f *forgetful) Release(ctx context.Context, call admission.Call, limits admission.Limits, since int64) (admission.Line, error) {
	return f.kept.Load().Release(ctx, call, limits, since)
}

func (f *forgetful) Admit(ctx context.Context, call admission.Call, knocks []admission.Knock) (admission.Head, []admission.Entry, error) {
	return f.kept.Load().Admit(ctx, call, knocks)
}

func (f *forgetful) Renew(ctx context.Context, call admission.Call, visitors []string) (admission.Head, []admission.Entry, error) {
	return f.kept.Load().Renew(ctx, call, visitors)
}

func (f *forgetful) Leave(ctx context.Context, call admission.Call, departures []admission.Departure) (admission.Head, error) {
	return f.kept.Load().Leave(ctx, call, departures)
}

func (f *forgetful) Present(ctx context.Context, call admission.Call, heard []admission.Piece) (admission.Head, error) {
	return f.kept.Load().Present(ctx, call, heard)
}

func (f *forgetful) Heal(ctx context.Context, call admission.Call, memory admission.Memory) (admission.Head, error) {
	return f.kept.Load().Heal(ctx, call, memory)
}

func (f *forgetful) Override(ctx context.Context, call admission.Call, overrides admission.Overrides) (admission.Head, error) {
	return f.kept.Load().Override(ctx, call, overrides)
}

func (f *forgetful) Spend(ctx context.Context, call admission.Call, spent []admission.Spent) (admission.Head, error) {
	return f.kept.Load().Spend(ctx, call, spent)
}

func (f *forgetful) Reset(ctx context.Context, call admission.Call, epoch int64) (admission.Head, error) {
	return f.kept.Load().Reset(ctx, call, epoch)
}

func (f *forgetful) Draw(ctx context.Context, call admission.Call, drawing admission.Drawing) (admission.Head, error) {
	return f.kept.Load().Draw(ctx, call, drawing)
}

func (f *forgetful) Keys(ctx context.Context, fresh admission.Key, known ...admission.Key) ([]admission.Key, error) {
	return f.kept.Load().Keys(ctx, fresh, known...)
}
