package redisstore_test

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/ropeline/ropeline/admission"
	"github.com/ropeline/ropeline/admission/catalog"
	"github.com/ropeline/ropeline/admission/redisstore"
	"github.com/ropeline/ropeline/admission/redisstore/redistest"
)

func TestShelf_KeepsTheNewestForAllGateways(t *testing.T) {
	t.Parallel()
	server := redistest.Single(t)
	here := connect(t, defaults(redisstore.Single, server.Addr)).Shelf()
	there := connect(t, defaults(redisstore.Single, server.Addr)).Shelf()
	start, stock := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC), int64(0)
	snapshot := func(version int64) catalog.Snapshot {
		return catalog.Snapshot{Version: version, System: catalog.Defaults(), Activities: []catalog.Activity{{
			ID: 1_000_000_001, TenantID: "acme", Name: "Frühling «drop» 春", SKU: "SKU-1", InitialStock: &stock, StartAt: &start,
			Status: catalog.Active, Config: catalog.Config{ReleaseRate: 2.5, Session: catalog.Session{Idle: 60}}, Version: version, CreatedAt: start,
		}}}
	}
	want := func(than, version int64, newer bool) {
		t.Helper()
		got, kept, err := there.Get(bounded(t), than)
		if err != nil || kept != version {
			t.Fatalf("newer than %d: version %d and %v, want version %d", than, kept, err, version)
		}
		expected := catalog.Snapshot{}
		if newer {
			expected = snapshot(version)
		}
		if !reflect.DeepEqual(got, expected) {
			t.Fatalf("newer than %d: got %+v, want %+v", than, got, expected)
		}
	}
	put := func(version int64) {
		t.Helper()
		if err := here.Put(bounded(t), snapshot(version)); err != nil {
			t.Fatal(err)
		}
	}

	want(0, 0, false)
	put(7)
	want(0, 7, true)
	want(7, 7, false)
	put(6) // of a gateway that was slow
	want(0, 7, true)
	put(8)
	want(7, 8, true)
	if left := server.Do(t.Context(), "ttl", "ropeline:catalog").(int64); left <= 0 {
		t.Errorf("the key expires in %d s, want a time", left)
	}
	server.Do(t.Context(), "flushall")
	want(8, 0, false)

	server.Kill()
	if err := here.Put(bounded(t), snapshot(9)); !errors.Is(err, admission.ErrUnavailable) {
		t.Errorf("without Redis: got error %v, want that the store is unavailable", err)
	}
}
