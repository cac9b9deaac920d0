package config

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestCrawlers_OfTheFileAndTheKnown(t *testing.T) {
	c, err := Load("testdata/good/full.yaml", nil)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, k := range c.Crawlers {
		names = append(names, k.Name)
	}
	if want := []string{"our-search", "googlebot", "bingbot", "applebot", "yandexbot", "baiduspider"}; !slices.Equal(names, want) {
		t.Errorf("got %q, want %q", names, want)
	}
	if got, want := fmt.Sprint(c.Crawlers[0].Networks), "[2001:db8:4860::/64 192.0.2.0/27 198.51.100.7/32 2001:db8::/48]"; got != want {
		t.Errorf("the networks are %s, want %s", got, want)
	}
	if got := c.Crawlers[1]; got.UserAgent != "google" || len(got.Domains) != 2 {
		t.Errorf("got %+v, want the file's own googlebot", got)
	}
}

// A list that a timer fetched anew is a change, though the YAML file is not.
func TestCrawlers_AListIsPartOfWhatWasLoaded(t *testing.T) {
	dir := t.TempDir()
	list, file := filepath.Join(dir, "list"), filepath.Join(dir, "ropeline.yaml")
	put := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(file, "upstreams: {shop: {servers: [{url: \"http://127.0.0.1:9000\"}]}}\nroutes: [{upstream: shop}]\n"+
		"crawlers: [{name: a, user_agent: A, files: ["+list+"]}]\n")
	hash := func(networks string) string {
		t.Helper()
		put(list, networks)
		c, err := Load(file, nil)
		if err != nil {
			t.Fatal(err)
		}
		return c.Hash
	}
	first := hash("192.0.2.0/24\n")
	if again := hash("192.0.2.0/24\n"); again != first {
		t.Error("the same list has another hash")
	}
	if other := hash("192.0.2.0/25\n"); other == first {
		t.Error("another list has the same hash")
	}
}
