package main

import (
	"strings"
	"testing"

	"github.com/ropeline/ropeline/config"
)

// An address that the file did not name, as of a socket that systemd opened, is
// held to the same.
func TestListeners_OperatorsWithoutTokensAreOfThisMachine(t *testing.T) {
	for _, c := range []struct {
		admin   string
		guarded bool
		want    string
	}{
		{"127.0.0.1:0", false, ""},
		{"0.0.0.0:0", true, ""},
		{"0.0.0.0:0", false, "can be reached from other machines"},
		{"", false, ""},
	} {
		var on listeners
		err := on.open(config.Listen{HTTP: "127.0.0.1:0", Admin: c.admin}, c.guarded)
		on.close()
		if (err != nil) != (c.want != "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("admin at %q, tokens needed: %t: got %v, want %q", c.admin, c.guarded, err, c.want)
		}
	}
}
