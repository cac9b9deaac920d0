//go:build linux

package postgres_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/ropeline/ropeline/admission"
	"github.com/ropeline/ropeline/admission/catalog"
	"github.com/ropeline/ropeline/admission/postgres/postgrestest"
)

func TestAudit_FiltersAndPages(t *testing.T) {
	t.Parallel()
	d, _ := open(t)
	var all []admission.Change // newest first
	for i := range 40 {
		c := admission.Change{
			At: noon().Add(time.Duration(i) * time.Minute), Actor: fmt.Sprint("actor-", i%2), Role: "operator",
			Tenant: []string{"", "acme", "demo' OR '1'='1"}[i%3], Action: []string{"activity.create", "activity.pause"}[i%4/2],
			Activity: int64(i % 5), RequestID: fmt.Sprint("request-", i), Gateway: "gateway-1",
		}
		if i%3 > 0 {
			c.After = []byte(fmt.Sprintf(`{"n":%d}`, i))
		}
		told := c
		told.Gateway = ""
		d.Audit(told)
		all = append([]admission.Change{c}, all...)
	}
	d.settled(t)
	for _, f := range []admission.ChangeFilter{
		{}, {Tenant: "acme"}, {Tenant: "demo' OR '1'='1"}, {Tenant: "nobody"}, {Activity: 3}, {Actor: "actor-1"}, {Action: "activity.pause"},
		{From: all[20].At}, {To: all[20].At}, {From: all[20].At, To: all[10].At},
		{Tenant: "acme", Actor: "actor-0", Action: "activity.create", From: all[39].At, To: all[0].At},
	} {
		var want []admission.Change
		for _, c := range all {
			if (f.Tenant == "" || c.Tenant == f.Tenant) && (f.Activity == 0 || c.Activity == f.Activity) &&
				(f.Actor == "" || c.Actor == f.Actor) && (f.Action == "" || c.Action == f.Action) &&
				(f.From.IsZero() || !c.At.Before(f.From)) && (f.To.IsZero() || c.At.Before(f.To)) {
				want = append(want, c)
			}
		}
		const limit = 7
		var got []admission.Change
		for page := 1; page <= len(want)/limit+2; page++ {
			changes, total, err := d.Changes(t.Context(), f, page, limit)
			if err != nil || total != int64(len(want)) || len(changes) > limit {
				t.Fatalf("%+v, page %d: got %d changes of %d, %v; want %d", f, page, len(changes), total, err, len(want))
			}
			got = append(got, changes...)
		}
		if !slices.EqualFunc(got, want, func(a, b admission.Change) bool { return reflect.DeepEqual(a, b) }) {
			t.Errorf("%+v: got %+v, want %+v", f, got, want)
		}
	}
}

func TestReplica_IsWhereTheRecordIsRead(t *testing.T) {
	t.Parallel()
	primary := postgrestest.Single(t)
	replica := primary.Replica(t)
	o := options(t, primary.URL("postgres"))
	o.ReplicaURL = replica.URL("postgres")
	d := run(t, o)
	at := noon()
	d.Note(joined(1, at))
	d.Audit(admission.Change{At: at, Action: "activity.pause"})
	d.settled(t)
	primary.CatchUp(t, replica)
	primary.Stop()
	if _, total, err := d.Changes(t.Context(), admission.ChangeFilter{}, 1, 10); total != 1 || err != nil {
		t.Errorf("audit: got %d, %v; want 1 from the replica", total, err)
	}
	a, err := d.Analytics(t.Context(), line, at.Add(-time.Hour), at.Add(time.Minute))
	if a.Entries != 1 || err != nil {
		t.Errorf("analytics: got %d entries, %v; want 1 from the replica", a.Entries, err)
	}
	version, read := d.CheckReplica(t.Context())
	_, written := d.Check(t.Context())
	if !d.HasReplica() || version == "" || read != nil || written == nil {
		t.Errorf("checks: replica %q, %v, primary %v; want only the primary to fail", version, read, written)
	}
	primary.Start(t)
	replica.Stop()
	if _, _, err := d.Changes(t.Context(), admission.ChangeFilter{}, 1, 10); !errors.Is(err, catalog.ErrUnavailable) {
		t.Errorf("without the replica: got %v, want %v", err, catalog.ErrUnavailable)
	}
	if _, err := d.CheckReplica(t.Context()); err == nil {
		t.Error("check of the replica: got nil, want an error")
	}
	if _, err := d.Snapshot(t.Context()); err != nil {
		t.Errorf("activities are the primary's: %v", err)
	}
}
