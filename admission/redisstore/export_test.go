package redisstore

import (
	"strings"

	"github.com/redis/go-redis/v9"
)

// Texts are the scripts of all verbs, and before them what they share.
func Texts() []string {
	return []string{shared, releaseText, joinText, admitText, renewText, leaveText, presentText, healText, spendText, resetText, overrideText, drawText}
}

// NewAt returns a store whose scripts read the time, in microseconds, from a
// key instead of the server's clock, so that a test can move it. edit changes
// the scripts beyond that; nil leaves them.
func NewAt(client redis.UniversalClient, clockKey string, edit func(text string) string) *Store {
	const clock = "local t = call('TIME')\n  local clock = tonumber(t[1]) * SECOND + tonumber(t[2])\n"
	if strings.Count(shared, clock) != 1 {
		panic("line.lua reads the time in another way than this test knows")
	}
	s := New(client)
	script := func(verb string) *redis.Script {
		text := strings.Replace(shared+verb, clock, "local clock = tonumber(call('GET', '"+clockKey+"'))\n", 1)
		if edit != nil {
			text = edit(text)
		}
		return redis.NewScript(text)
	}
	s.scripts = scripts{
		release: script(releaseText), join: script(joinText), admit: script(admitText), renew: script(renewText),
		leave: script(leaveText), present: script(presentText), heal: script(healText), spend: script(spendText), reset: script(resetText), override: script(overrideText), draw: script(drawText),
		keys: s.scripts.keys,
	}
	return s
}
