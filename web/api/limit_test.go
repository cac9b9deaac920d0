package api

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestLimiter_CountsNetworksNotAddresses(t *testing.T) {
	l, now := newLimiter(), time.Unix(1_700_000_000, 0)
	take := func(address string) bool { return l.take(netip.MustParseAddr(address), 60, 1, now) == 0 }
	for _, c := range []struct {
		address string
		want    bool
	}{
		{"203.0.113.7", true}, {"203.0.113.7", false}, {"203.0.113.8", true}, {"::ffff:203.0.113.7", false},
		{"2001:db8::1", true}, {"2001:db8::2", false}, {"2001:db8:0:0:ffff::1", false}, {"2001:db8:0:1::1", true},
		{"fe80::1%eth0", true}, {"fe80::2%eth1", false},
	} {
		if got := take(c.address); got != c.want {
			t.Errorf("%s: let in %v, want %v", c.address, got, c.want)
		}
	}
	for range 3 {
		if l.take(netip.Addr{}, 60, 1, now) != 0 {
			t.Error("a client without an address is limited")
		}
	}
}

// TestLimiter_KeepsItsRate holds the limiter to what it promises: over any
// span, no more than the burst and what the rate gives, and who waits as long
// as told is let in.
func TestLimiter_KeepsItsRate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		perHour := rapid.Int64Range(1, 100_000).Draw(t, "per hour")
		burst := rapid.Int64Range(1, 50).Draw(t, "burst")
		l, client := newLimiter(), netip.MustParseAddr("203.0.113.7")
		start := time.Unix(1_700_000_000, 0)
		now, let := start, int64(0)
		for range rapid.IntRange(1, 200).Draw(t, "asked") {
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(2*time.Hour)/perHour).Draw(t, "pause")))
			after := l.take(client, perHour, burst, now)
			if after > 0 && rapid.Bool().Draw(t, "waits") {
				if after > time.Hour/time.Duration(perHour)+1 {
					t.Fatalf("is told to wait %v at %d/h", after, perHour)
				}
				now = now.Add(after)
				if again := l.take(client, perHour, burst, now); again > 0 {
					t.Fatalf("waited %v as told, and is told to wait %v more", after, again)
				}
				after = 0
			}
			if after == 0 {
				let++
			}
			every := int64(time.Hour) / perHour
			if most := burst + int64(now.Sub(start))/every; let > most {
				t.Fatalf("let in %d after %v, at most %d may be", let, now.Sub(start), most)
			}
		}
	})
}

func TestLimiter_MadeUpAddressesCostNoMemory(t *testing.T) {
	l, now := newLimiter(), time.Unix(1_700_000_000, 0)
	var address [16]byte
	for i := range uint64(400_000) {
		binary.BigEndian.PutUint64(address[:], i<<8|0x20<<56)
		l.take(netip.AddrFrom16(address), 60, 1, now)
	}
	kept := 0
	for i := range l.shards {
		kept += len(l.shards[i].young) + len(l.shards[i].old)
	}
	if most := 2 * shardNetworks * len(l.shards); kept > most {
		t.Errorf("%d networks are kept, at most %d may be", kept, most)
	}
	if l.take(netip.AddrFrom16(address), 60, 1, now) == 0 {
		t.Error("the last one heard of is forgotten")
	}
}

func TestLimiter_AnotherLimitOrAClockSetBackShutsNoOneOut(t *testing.T) {
	l, now, client := newLimiter(), time.Unix(1_700_000_000, 0), netip.MustParseAddr("203.0.113.7")
	l.take(client, 1, 1, now) // due in an hour
	if after := l.take(client, 600, 1, now); after > 6*time.Second {
		t.Errorf("by a new limit of 600/h it waits %v", after)
	}
	if after := l.take(client, 600, 1, now.Add(-24*time.Hour)); after > 6*time.Second {
		t.Errorf("by a clock set back a day it waits %v", after)
	}
}
