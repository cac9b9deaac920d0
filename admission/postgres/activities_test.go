//go:build linux

package postgres_test

import (
	"errors"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ropeline/ropeline/admission/catalog"
)

func activity(tenant, sku string) catalog.Activity {
	stock, start := int64(40), time.Date(2031, 5, 1, 10, 0, 0, 0, time.UTC)
	return catalog.Activity{
		TenantID: tenant, Name: "Frühling 春", SKU: sku, InitialStock: &stock, StartAt: &start, Status: catalog.Draft,
		Config: catalog.Config{ReleaseRate: 2.5, Capacity: 500, Session: catalog.Session{Idle: 600, Max: 3600}},
	}
}

func TestActivities_ChangesNameTheVersionThatTheyChange(t *testing.T) {
	t.Parallel()
	d, _ := open(t)
	ctx := t.Context()
	before, err := d.Snapshot(ctx)
	if err != nil || before.System != catalog.Defaults() || len(before.Activities) != 0 {
		t.Fatalf("at first: got %+v, %v; want the defaults and no activity", before, err)
	}
	made, err := d.Create(ctx, activity("acme", "SKU-1"))
	if err != nil {
		t.Fatal(err)
	}
	want := activity("acme", "SKU-1")
	want.ID, want.Version, want.CreatedAt, want.UpdatedAt = 1_000_000_001, 1, made.CreatedAt, made.CreatedAt
	if !reflect.DeepEqual(made, want) || made.CreatedAt.IsZero() {
		t.Errorf("created: got %+v, want %+v", made, want)
	}

	change := made
	change.Name, change.Status, change.InitialStock, change.StartAt = "Summer", catalog.Active, nil, nil
	change.TenantID, change.CreatedAt = "other", time.Time{} // not for an update to change
	updated, err := d.Update(ctx, change)
	if err != nil {
		t.Fatal(err)
	}
	want = change
	want.TenantID, want.CreatedAt, want.Version, want.UpdatedAt = "acme", made.CreatedAt, 2, updated.UpdatedAt
	if !reflect.DeepEqual(updated, want) || !updated.UpdatedAt.After(made.UpdatedAt) {
		t.Errorf("updated: got %+v, want %+v", updated, want)
	}
	if _, err := d.Update(ctx, change); !errors.Is(err, catalog.ErrChanged) {
		t.Errorf("update of the old version: got %v, want %v", err, catalog.ErrChanged)
	}
	if err := d.Delete(ctx, made.ID, 1); !errors.Is(err, catalog.ErrChanged) {
		t.Errorf("delete of the old version: got %v, want %v", err, catalog.ErrChanged)
	}
	if _, err := d.Update(ctx, catalog.Activity{ID: 5, Version: 1}); !errors.Is(err, catalog.ErrNotFound) {
		t.Errorf("update of none: got %v, want %v", err, catalog.ErrNotFound)
	}
	if err := d.Delete(ctx, 5, 1); !errors.Is(err, catalog.ErrNotFound) {
		t.Errorf("delete of none: got %v, want %v", err, catalog.ErrNotFound)
	}

	system := catalog.System{DefaultQueueTTL: 1, MaxReleaseRate: 2.5, DefaultPollInterval: 3}
	if err := d.SetSystem(ctx, system); err != nil {
		t.Fatal(err)
	}
	after, err := d.Snapshot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	// What was refused moves nothing.
	wanted := catalog.Snapshot{Version: before.Version + 3, System: system, Activities: []catalog.Activity{updated}}
	if !reflect.DeepEqual(after, wanted) {
		t.Errorf("snapshot: got %+v, want %+v", after, wanted)
	}
	if got, err := d.Version(ctx); got != wanted.Version || err != nil {
		t.Errorf("version: got %d, %v; want %d", got, err, wanted.Version)
	}
	if err := d.Delete(ctx, made.ID, 2); err != nil {
		t.Error(err)
	}
	if after, err = d.Snapshot(ctx); len(after.Activities) != 0 || after.Version != wanted.Version+1 {
		t.Errorf("deleted: got %+v, %v; want none, one version on", after, err)
	}
}

func TestActivities_AnIDAndATenantsSKUAreTakenOnce(t *testing.T) {
	t.Parallel()
	d, _ := open(t)
	ctx := t.Context()
	create := func(id int64, tenant, sku string) (int64, error) {
		a := activity(tenant, sku)
		a.ID = id
		made, err := d.Create(ctx, a)
		return made.ID, err
	}
	for _, c := range []struct {
		id          int64
		tenant, sku string
		want        int64
		err         error
	}{
		{7, "acme", "A", 7, nil},
		{7, "acme", "B", 0, catalog.ErrTaken},
		{0, "acme", "A", 0, catalog.ErrTaken}, // an id that was looked for is gone
		{1_000_000_002, "other", "A", 1_000_000_002, nil},
		{0, "acme", "", 1_000_000_003, nil},
		{0, "acme", "", 1_000_000_004, nil},
	} {
		if got, err := create(c.id, c.tenant, c.sku); got != c.want || !errors.Is(err, c.err) {
			t.Errorf("create %d of %s %q: got %d, %v; want %d, %v", c.id, c.tenant, c.sku, got, err, c.want, c.err)
		}
	}
	clash := activity("acme", "A")
	clash.ID, clash.Version = 1_000_000_003, 1
	if _, err := d.Update(ctx, clash); !errors.Is(err, catalog.ErrTaken) {
		t.Errorf("update to a sku in use: got %v, want %v", err, catalog.ErrTaken)
	}
}

func TestActivities_OfManyChangesAtOnceEachMovesTheVersion(t *testing.T) {
	t.Parallel()
	d, _ := open(t)
	ctx := t.Context()
	made, err := d.Create(ctx, activity("acme", "A"))
	if err != nil {
		t.Fatal(err)
	}
	before, _ := d.Version(ctx)
	const writers = 10
	var won, told atomic.Int64
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			_, err := d.Update(ctx, made)
			switch {
			case err == nil:
				won.Add(1)
			case errors.Is(err, catalog.ErrChanged):
				told.Add(1)
			}
		})
		all.Go(func() {
			if _, err := d.Create(ctx, activity("acme", "")); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if won.Load() != 1 || told.Load() != writers-1 {
		t.Errorf("got %d updates made and %d refused, want 1 and %d", won.Load(), told.Load(), writers-1)
	}
	if after, err := d.Version(ctx); after != before+writers+1 {
		t.Errorf("version: got %d, %v; want %d", after, err, before+writers+1)
	}
}

func TestActivities_AreAskedAgainWhenConnectionsWereCut(t *testing.T) {
	t.Parallel()
	d, name := open(t)
	for i := range 5 {
		server.Disconnect(t, name)
		if _, err := d.Create(t.Context(), activity("acme", "")); err != nil {
			t.Error(err)
		}
		server.Disconnect(t, name)
		if got, err := d.Snapshot(t.Context()); len(got.Activities) != i+1 || err != nil {
			t.Errorf("got %d activities, %v; want %d", len(got.Activities), err, i+1)
		}
	}
}

func TestActivities_AreUnavailableWithoutTheDatabase(t *testing.T) {
	t.Parallel()
	d := run(t, options(t, "postgres://u@127.0.0.1:1/d"))
	ctx := t.Context()
	_, snapshot := d.Snapshot(ctx)
	_, version := d.Version(ctx)
	_, create := d.Create(ctx, activity("acme", "A"))
	_, update := d.Update(ctx, catalog.Activity{ID: 1, Version: 1})
	for verb, err := range map[string]error{
		"snapshot": snapshot, "version": version, "create": create, "update": update,
		"delete": d.Delete(ctx, 1, 1), "set system": d.SetSystem(ctx, catalog.Defaults()),
	} {
		if !errors.Is(err, catalog.ErrUnavailable) {
			t.Errorf("%s: got %v, want %v", verb, err, catalog.ErrUnavailable)
		}
	}
}
