package visitor

import "testing"

func TestIdentity_WhatCannotBeBelievedSaysNothing(t *testing.T) {
	proxies := trusted(t, "10.0.0.0/8")
	claim := func(token string) string {
		if token == "good" {
			return "of the token"
		}
		return ""
	}
	all := Identity{Header: "X-Customer", Cookie: "customer", Claim: claim}
	for _, c := range []struct {
		story, remote string
		lines         []string
		from          Identity
		want          string
	}{
		{"nothing said", "10.0.0.1:1", nil, all, ""},
		{"header of a trusted proxy", "10.0.0.1:1", []string{"X-Customer: a"}, all, "a"},
		{"header of a stranger", "203.0.113.7:1", []string{"X-Customer: a"}, all, ""},
		{"cookie", "203.0.113.7:1", []string{"Cookie: x=y; customer=b"}, all, "b"},
		{"the header comes first", "10.0.0.1:1", []string{"X-Customer: a", "Cookie: customer=b", "Authorization: Bearer good"}, all, "a"},
		{"the cookie comes second", "203.0.113.7:1", []string{"X-Customer: a", "Cookie: customer=b", "Authorization: Bearer good"}, all, "b"},
		{"token", "203.0.113.7:1", []string{"Authorization: Bearer good"}, all, "of the token"},
		{"token that is not good", "203.0.113.7:1", []string{"Authorization: Bearer bad"}, all, ""},
		{"token that is no bearer's", "203.0.113.7:1", []string{"Authorization: Basic good"}, all, ""},
		{"token that is not looked at", "203.0.113.7:1", []string{"Authorization: Bearer good"}, Identity{Cookie: "customer"}, ""},
		{"nowhere", "10.0.0.1:1", []string{"X-Customer: a", "Cookie: customer=b"}, Identity{}, ""},
	} {
		r := from(c.remote, c.lines...)
		v := proxies.Read(r)
		if got := v.Identity(r, c.from); got != c.want {
			t.Errorf("%s: got %q, want %q", c.story, got, c.want)
		}
	}
}
