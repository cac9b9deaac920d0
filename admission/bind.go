package admission

import "strings"

// Bind says what the tickets of a room are bound to. A ticket that another
// brings is worth nothing to them: they are new. The zero Bind binds to nothing.
type Bind struct {
	UserAgent bool // the kind of browser on the kind of device, without versions
	Network   bool // the network of the address, by Settings.Networks
}

// binding is what one ticket is bound to, as keyed hashes; empty: not bound.
type binding struct {
	agent, network string
	length         int // of the network's prefix, in bits, when the ticket was given
}

// binding is what a ticket that is given to this visit is bound to.
func (r *Room) binding(visit Visit) (b binding) {
	settings := r.settings.Load()
	if settings.Bind.UserAgent {
		b.agent = r.hashes.of("agent", agentKind(visit.Agent))
	}
	if settings.Bind.Network {
		b.network = r.hashes.network(visit.Network, settings.Networks)
		b.length = max(0, settings.Networks.of(visit.Network).Bits())
	}
	return b
}

// bound reports whether a ticket may be used by this visit. Only what is still
// asked for counts, and only on a ticket that was bound when it was given: to
// turn binding on or off costs no one the place.
func (r *Room) bound(t *ticket, visit Visit) bool {
	if t.binding == (binding{}) {
		return true
	}
	bind := r.settings.Load().Bind
	if bind.UserAgent && t.binding.agent != "" && t.binding.agent != r.hashes.of("agent", agentKind(visit.Agent)) {
		return false
	}
	networks := r.settings.Load().Networks
	if length := t.binding.length; length > 0 { // else it is a ticket of a build that did not tell
		networks = Networks{IPv4: length, IPv6: length}
	}
	return !bind.Network || t.binding.network == "" || t.binding.network == r.hashes.network(visit.Network, networks)
}

// The words by which browsers tell their system and their kind. The first that
// is found counts: many say several.
var (
	systems = []string{"Android", "iPhone", "iPad", "Windows", "CrOS", "Macintosh", "Linux"}
	engines = []string{"Edg", "OPR/", "SamsungBrowser/", "Firefox/", "FxiOS/", "CriOS/", "Chrome/", "Safari/"}
)

// agentKind is what of a User-Agent does not change while its browser waits: an
// update of it in the hour of waiting must not cost the place. Of an app it is
// the name.
func agentKind(agent string) string {
	if !strings.HasPrefix(agent, "Mozilla/") {
		end := strings.IndexAny(agent, "/ ")
		if end < 0 {
			end = len(agent)
		}
		return agent[:min(end, 100)]
	}
	return firstIn(agent, systems) + " " + firstIn(agent, engines)
}

func firstIn(text string, words []string) string {
	for _, w := range words {
		if strings.Contains(text, w) {
			return w
		}
	}
	return ""
}
