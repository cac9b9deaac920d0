package redisstore_test

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/ropeline/ropeline/admission"
	"github.com/ropeline/ropeline/admission/admissiontest"
	"github.com/ropeline/ropeline/admission/redisstore"
	"github.com/ropeline/ropeline/admission/redisstore/redistest"
)

// clockKey holds the time of the scripts under test.
const clockKey = "test:clock"

// openBench opens a store in a server of its own. The server writes its file
// before each answer and leaves the disk to the kernel: so a SIGKILL loses
// nothing, as it may with everysec, and no step waits for a disk, as with
// always.
func openBench(t *testing.T) admissiontest.Bench {
	s := redistest.Single(t, "appendfsync no")
	client := redis.NewClient(&redis.Options{Addr: s.Addr})
	t.Cleanup(func() { client.Close() })
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	now := time.Date(2030, 5, 1, 12, 0, 0, 0, time.UTC)
	set := func() { check(client.Set(t.Context(), clockKey, now.UnixMicro(), 0).Err()) }
	set()
	store := redisstore.NewAt(client, clockKey, plantedHere(t))
	return admissiontest.Bench{
		Store:   func() admission.Store { return store },
		Advance: func(d time.Duration) { now = now.Add(d); set() },
		Lose:    func() { check(client.FlushAll(t.Context()).Err()); set() },
		Crash:   func() { s.Kill(); s.Restart() },
		Keep: func() func() {
			kept := map[string]string{}
			keys, err := client.Keys(t.Context(), "*").Result()
			check(err)
			for _, k := range keys {
				kept[k], err = client.Dump(t.Context(), k).Result()
				check(err)
			}
			return func() {
				check(client.FlushAll(t.Context()).Err())
				for k, v := range kept {
					check(client.Restore(t.Context(), k, 0, v).Err())
				}
				set()
			}
		},
		Shared: true,
	}
}

func TestStore_KeepsTheRules(t *testing.T) { admissiontest.Store(t, openBench) }
