//go:build linux

package catalog_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/ropeline/ropeline/admission/catalog"
	"github.com/ropeline/ropeline/admission/postgres"
	"github.com/ropeline/ropeline/admission/postgres/postgrestest"
	"github.com/ropeline/ropeline/admission/redisstore"
	"github.com/ropeline/ropeline/admission/redisstore/redistest"
)

// patience bounds every wait for what will come.
const patience = 30 * time.Second

// gateway is what one gateway has of the layers.
type gateway struct {
	*catalog.Catalog
	database *postgres.Database
	changes  chan catalog.Snapshot // what was known at each call of changed
	refuse   chan error            // what changed answers with; empty: nil
}

// open opens the layers of one more gateway. shelf may be nil.
func open(t *testing.T, url string, shelf catalog.Shelf) *gateway {
	t.Helper()
	database, err := postgres.Open(postgres.Options{
		ConnString: url, MaxOpenConns: 4, Spool: t.TempDir(), SpoolMax: 1 << 20, Gateway: t.Name(),
	})
	if err != nil {
		t.Fatal(err)
	}
	g := &gateway{
		Catalog: catalog.New(database, shelf, zap.NewNop()), database: database,
		changes: make(chan catalog.Snapshot, 100), refuse: make(chan error, 100),
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{}, 2)
	go func() { defer func() { done <- struct{}{} }(); _ = database.Run(ctx) }()
	go func() {
		defer func() { done <- struct{}{} }()
		_ = g.Run(ctx, func(context.Context) error {
			g.changes <- g.Snapshot()
			select {
			case err := <-g.refuse:
				return err
			default:
				return nil
			}
		})
	}()
	t.Cleanup(func() { cancel(); <-done; <-done; database.Close() })
	return g
}

// migrated waits until the database can be changed.
func (g *gateway) migrated(t *testing.T) {
	t.Helper()
	eventually(t, "the tables are there", func() bool {
		_, err := g.database.Version(t.Context())
		return err == nil
	})
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	deadline := time.After(patience)
	for !is() {
		select {
		case <-look.C:
		case <-deadline:
			t.Fatalf("waited %v in vain: %s", patience, what)
		}
	}
}

// knows waits until changed was called with exactly these names known.
func (g *gateway) knows(t *testing.T, names ...string) {
	t.Helper()
	began := time.Now()
	for deadline := time.After(patience); ; {
		select {
		case s := <-g.changes:
			var got []string
			for _, a := range s.Activities {
				got = append(got, a.Name)
			}
			if slices.Equal(got, names) {
				t.Logf("%q known after %v", names, time.Since(began).Round(time.Millisecond))
				return
			}
		case <-deadline:
			t.Fatalf("waited %v in vain for %q", patience, names)
		}
	}
}

func drop(name string) catalog.Activity {
	return catalog.Activity{TenantID: "acme", Name: name, SKU: name, Status: catalog.Active}
}

func TestCatalog_AChangeReachesEveryGateway(t *testing.T) {
	t.Parallel()
	url, redis := server.URL(server.Database(t)), redistest.Single(t)
	here, there := open(t, url, shelf(t, redis)), open(t, url, shelf(t, redis))
	here.migrated(t)
	there.migrated(t)

	made, err := here.Create(t.Context(), drop("one"))
	if err != nil {
		t.Fatal(err)
	}
	here.knows(t, "one")
	there.knows(t, "one")

	made.Name = "uno"
	if _, err := there.Update(t.Context(), made); err != nil {
		t.Fatal(err)
	}
	here.knows(t, "uno")
	if _, err := here.Update(t.Context(), made); !errors.Is(err, catalog.ErrChanged) {
		t.Errorf("a change of what was changed meanwhile: got error %v, want %v", err, catalog.ErrChanged)
	}
	if err := here.SetSystem(t.Context(), catalog.System{DefaultQueueTTL: 60, MaxReleaseRate: 5, DefaultPollInterval: 1000}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the system's values are known there", func() bool { return there.Snapshot().System.DefaultQueueTTL == 60 })
	if err := here.Delete(t.Context(), made.ID, 2); err != nil {
		t.Fatal(err)
	}
	there.knows(t)
}

func TestCatalog_AGatewayStartsWithoutTheDatabase(t *testing.T) {
	t.Parallel()
	postgres, redis := postgrestest.Single(t), redistest.Single(t)
	url := postgres.URL(postgres.Database(t))
	first := open(t, url, shelf(t, redis))
	first.migrated(t)
	if _, err := first.Create(t.Context(), drop("one")); err != nil {
		t.Fatal(err)
	}
	first.knows(t, "one")
	postgres.Stop()
	second := open(t, url, shelf(t, redis))
	second.knows(t, "one")
	if _, err := second.Create(t.Context(), drop("two")); !errors.Is(err, catalog.ErrUnavailable) {
		t.Errorf("a change without the database: got error %v, want %v", err, catalog.ErrUnavailable)
	}
	postgres.Start(t)
	eventually(t, "changes are taken again", func() bool {
		_, err := second.Create(t.Context(), drop("two"))
		return err == nil
	})
	first.knows(t, "one", "two")
}

func TestCatalog_AShelfThatLostEverythingIsFilledAgain(t *testing.T) {
	t.Parallel()
	url, redis := server.URL(server.Database(t)), redistest.Single(t)
	first, second := open(t, url, shelf(t, redis)), open(t, url, shelf(t, redis))
	first.migrated(t)
	if _, err := first.Create(t.Context(), drop("one")); err != nil {
		t.Fatal(err)
	}
	second.knows(t, "one")
	redis.Do(t.Context(), "flushall")
	eventually(t, "the shelf has it again", func() bool { return redis.Do(t.Context(), "exists", "ropeline:catalog") == int64(1) })

	redis.Kill() // from now on the database alone can tell
	if _, err := first.Create(t.Context(), drop("two")); err != nil {
		t.Fatalf("a change while the shelf is away: %v", err)
	}
	second.knows(t, "one", "two")
}

func TestCatalog_WithoutAShelfTheDatabaseTells(t *testing.T) {
	t.Parallel()
	url := server.URL(server.Database(t))
	first, second := open(t, url, nil), open(t, url, nil)
	first.migrated(t)
	second.migrated(t)
	if _, err := first.Create(t.Context(), drop("one")); err != nil {
		t.Fatal(err)
	}
	second.knows(t, "one")
}

func TestCatalog_WhatCouldNotBePutInForceIsToldAgain(t *testing.T) {
	t.Parallel()
	g := open(t, server.URL(server.Database(t)), nil)
	g.migrated(t)
	for range 2 {
		g.refuse <- errors.New("the store is away")
	}
	if _, err := g.Create(t.Context(), drop("one")); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		g.knows(t, "one")
	}
}

// shelf is one gateway's way to a Redis.
func shelf(t *testing.T, server *redistest.Server) catalog.Shelf {
	t.Helper()
	store, err := redisstore.Connect(t.Context(), redisstore.Options{
		Mode: redisstore.Single, Addresses: []string{server.Addr}, PoolSize: 4,
		DialTimeout: time.Second, ReadTimeout: time.Second, WriteTimeout: time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return store.Shelf()
}

// server serves all tests that leave it alone; each has a database of its own.
var server *postgrestest.Server

func TestMain(m *testing.M) {
	var err error
	if server, err = postgrestest.Open(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := server.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}
