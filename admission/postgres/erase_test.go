//go:build linux

package postgres_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ropeline/ropeline/admission"
)

func TestErase_TakesAnIdentityOutAndLeavesWhatItDid(t *testing.T) {
	t.Parallel()
	d, name := open(t)
	secret := admission.Secret("0123456789abcdef")
	other := admission.LineID{Tenant: "acme", Activity: line.Activity + 1}
	at := noon()
	for i, l := range []admission.LineID{line, line, other} {
		for _, name := range []string{"mei", "bob"} {
			e := joined(int64(i)+1, at.Add(time.Duration(i)*time.Minute))
			e.Line, e.Visitor, e.UserHash = l, fmt.Sprint(name, i), secret.Identity(l, name)
			d.Note(e)
			e.Kind = admission.EventAdmitted
			d.Note(e)
		}
	}
	d.settled(t)
	known := func(person string) (n int) {
		t.Helper()
		conn, err := pgx.Connect(t.Context(), server.URL(name))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(t.Context())
		for _, l := range []admission.LineID{line, other} {
			for _, table := range []string{"queue_entries", "queue_events"} {
				var some int
				if err := conn.QueryRow(t.Context(), `SELECT count(*) FROM `+table+` WHERE user_hash = $1`, secret.Identity(l, person)).Scan(&some); err != nil {
					t.Fatal(err)
				}
				n += some
			}
		}
		return n
	}
	erase := func(tenant, name string) int64 {
		t.Helper()
		n, err := d.Erase(t.Context(), tenant, func(l admission.LineID) string { return secret.Identity(l, name) })
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := known("mei"); n != 6 {
		t.Fatalf("%d rows know her, want 6", n)
	}
	if n := erase("acme", "mei"); n != 1 || known("mei") != 4 {
		t.Errorf("of one tenant %d entries, %d rows left; want 1 and 4", n, known("mei"))
	}
	if n := erase("", "mei"); n != 2 || known("mei") != 0 {
		t.Errorf("of all %d entries, %d rows left; want 2 and none", n, known("mei"))
	}
	if n := erase("", "mei"); n != 0 {
		t.Errorf("again: %d entries, want none", n)
	}
	if n := known("bob"); n != 6 {
		t.Errorf("%d rows know the other, want 6", n)
	}
	a, err := d.Analytics(t.Context(), line, at.Add(-time.Hour), at.Add(time.Hour))
	if err != nil || a.Entries != 4 || a.Admissions != 4 {
		t.Errorf("the record has %d entries and %d admissions, %v; want what was, 4 and 4", a.Entries, a.Admissions, err)
	}
}
