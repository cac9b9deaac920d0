package redisstore

import (
	"strings"

	"github.com/redis/go-redis/v9"
)

// NewAt returns a store whose scripts read the time, in microseconds, from a
// key instead of the server's clock, so that a test can move it.
func NewAt(client redis.UniversalClient, clockKey string) *Store {
	const clock = "local t = call('TIME')\n  local clock = tonumber(t[1]) * SECOND + tonumber(t[2])\n"
	if !strings.Contains(shared, clock) {
		panic("line.lua reads the time in another way than this test knows")
	}
	s := New(client)
	s.scripts = scriptsOf(strings.Replace(shared, clock, "local clock = tonumber(call('GET', '"+clockKey+"'))\n", 1))
	return s
}
