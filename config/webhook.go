package config

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// minWebhookSecret is what Standard Webhooks asks of a key, in bytes.
const minWebhookSecret = 24

func (d *decoder) checkWebhooks(c *Config) {
	listed := places[Secret]{}
	for i, h := range c.Webhooks {
		at := fmt.Sprintf("webhooks[%d]", i)
		address, secret := at+".url", at+".secret"
		if d.sound(address) && d.given(address) {
			u, err := url.Parse(h.URL.Reveal())
			switch {
			case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
				d.problem(address, "is not an address, like https://hooks.example.com/ropeline")
			case u.User != nil || u.Fragment != "":
				d.problem(address, "must have neither user nor fragment")
			case u.Scheme == "http" && !h.Private:
				d.problem(address, "is plain HTTP; only a webhook with private: true may be")
			}
			if other, twice := listed.twice(h.URL, i); twice {
				d.problem(address, "is also the url of webhooks[%d]", other)
			}
		}
		if d.sound(secret) && h.Secret != (Secret{}) {
			key, err := []byte(h.Secret.Reveal()), error(nil)
			if text, encoded := strings.CutPrefix(h.Secret.Reveal(), "whsec_"); encoded {
				key, err = base64.StdEncoding.DecodeString(text)
			}
			switch {
			case err != nil:
				d.problem(secret, "is not base64 after whsec_")
			case len(key) < minWebhookSecret:
				d.problem(secret, "has %d bytes; at least %d are needed", len(key), minWebhookSecret)
			}
		}
		if d.sound(at) && h.Secret == (Secret{}) && d.given(address) {
			d.warn(at, "has no secret: its receiver cannot tell who calls")
		}
		for j, id := range h.Activities {
			known := slices.ContainsFunc(c.Activities, func(a Activity) bool { return a.ID == id })
			if !known && !c.Database.Configured() && d.sound(fmt.Sprintf("%s.activities[%d]", at, j)) {
				d.problem(fmt.Sprintf("%s.activities[%d]", at, j), "no activity has the id %d", id)
			}
		}
	}
}
