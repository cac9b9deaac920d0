package admission

import (
	"context"
	"crypto/rand"
	"time"
)

// mostPatience is how long a request waits for the store. Who gets no answer by
// then is told that the place is kept, and asks again.
const mostPatience = 2 * time.Second

// firstPause is the pause before a batch of joins is tried again; each further
// one is twice as long.
const firstPause = 50 * time.Millisecond

// ask puts a knock to the store, together with others.
func (r *Room) ask(ctx context.Context, k Knock) (Entry, error) {
	entry, err := r.knocks.ask(ctx, k)
	if err == nil && entry.Outcome == EntryAdmitted {
		a := entry.Admission
		r.known(a.Visitor, a.Number, k.Epoch, a.Until, a.Max)
	}
	return entry, err
}

func (r *Room) call() Call {
	call := Call{Line: r.id, Gateway: r.gateway, Floor: *r.floor.Load()}
	if v := r.view.Load(); v != nil {
		call.Mapped = v.lots != nil && v.Epoch == call.Floor.Epoch
	}
	return call
}

// join and knock are the store's verbs, as the commits ask them.
func (r *Room) join(ctx context.Context, newcomers []Newcomer) ([]Place, error) {
	ctx, cancel := context.WithTimeout(ctx, mostPatience)
	defer cancel()
	batch := rand.Text()
	head, places, err := r.store.Join(ctx, r.call(), batch, newcomers)
	for pause := firstPause; err != nil && ctx.Err() == nil; pause *= 2 {
		// It may have happened: the same batch gets the same numbers.
		select {
		case <-time.After(jitter(pause)):
			head, places, err = r.store.Join(ctx, r.call(), batch, newcomers)
		case <-ctx.Done():
		}
	}
	if err != nil {
		return nil, err
	}
	r.lift(head.Floor)
	r.joined.Store(&head)
	for i := range places { // a reset may be heard of before they are handed out
		places[i].epoch = head.Epoch
	}
	r.noteJoins(head, newcomers, places)
	return places, nil
}

func (r *Room) knock(ctx context.Context, knocks []Knock) ([]Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, mostPatience)
	defer cancel()
	head, entries, err := r.store.Admit(ctx, r.call(), knocks)
	if err != nil {
		return nil, err
	}
	r.lift(head.Floor)
	for i := range entries {
		entries[i].settling = head.Settling
		if entries[i].Spent.Uses > 0 {
			r.spent.raise(entries[i].Spent)
		}
	}
	return entries, nil
}
