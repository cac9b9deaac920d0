package redisstore

import (
	_ "embed"

	"github.com/redis/go-redis/v9"
)

// Each verb is a script of its own, in the file of its name, behind the steps
// that all of them share.
var (
	//go:embed line.lua
	shared string
	//go:embed release.lua
	releaseText string
	//go:embed join.lua
	joinText string
	//go:embed admit.lua
	admitText string
	//go:embed renew.lua
	renewText string
	//go:embed leave.lua
	leaveText string
	//go:embed present.lua
	presentText string
	//go:embed heal.lua
	healText string
	//go:embed spend.lua
	spendText string
	//go:embed reset.lua
	resetText string
	//go:embed override.lua
	overrideText string
	//go:embed draw.lua
	drawText string
	//go:embed keys.lua
	keysText string
	//go:embed catalog.lua
	catalogText string
	//go:embed vault.lua
	vaultText string
)

type scripts struct {
	release, join, admit, renew, leave, present, heal, spend, reset, override, draw, keys, catalog, vault *redis.Script
}

// scriptsOf returns the scripts behind a text that they share.
func scriptsOf(shared string) scripts {
	script := func(verb string) *redis.Script { return redis.NewScript(shared + verb) }
	return scripts{
		release: script(releaseText), join: script(joinText), admit: script(admitText), renew: script(renewText),
		leave: script(leaveText), present: script(presentText), heal: script(healText), spend: script(spendText), reset: script(resetText), override: script(overrideText),
		draw: script(drawText),
		// Of no line: they share no steps.
		keys: redis.NewScript(keysText), catalog: redis.NewScript(catalogText), vault: redis.NewScript(vaultText),
	}
}
