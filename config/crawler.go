package config

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// known are the crawlers that need no words in the file: the domains are those
// that their operators publish for this. What a visitor of a search engine can
// have it fetch, as translators and feed readers do, comes from others.
var known = []Crawler{
	{Name: "googlebot", UserAgent: "Googlebot", Domains: []string{"googlebot.com"}},
	{Name: "bingbot", UserAgent: "bingbot", Domains: []string{"search.msn.com"}},
	{Name: "applebot", UserAgent: "Applebot", Domains: []string{"applebot.apple.com"}},
	{Name: "yandexbot", UserAgent: "YandexBot", Domains: []string{"yandex.ru", "yandex.net", "yandex.com"}},
	{Name: "baiduspider", UserAgent: "Baiduspider", Domains: []string{"crawl.baidu.com", "crawl.baidu.jp"}},
}

// deriveCrawlers reads the networks of the file's crawlers, and adds the known
// ones that the file does not describe itself.
func (d *decoder) deriveCrawlers(c *Config) {
	for i := range c.Crawlers {
		crawler := &c.Crawlers[i]
		for j, file := range crawler.Files {
			path := fmt.Sprintf("crawlers[%d].files[%d]", i, j)
			data, err := readFile(file, maxBytes)
			if err != nil {
				d.problem(path, "read %q: %v", file, err)
				continue
			}
			d.read(path, string(data))
			networks, err := publishedNetworks(data)
			if err != nil {
				d.problem(path, "%q: %v", file, err)
				continue
			}
			crawler.Networks = append(crawler.Networks, networks...)
		}
	}
	for _, k := range known {
		if !slices.ContainsFunc(c.Crawlers, func(c Crawler) bool { return c.Name == k.Name }) {
			c.Crawlers = append(c.Crawlers, k)
		}
	}
}

// publishedNetworks reads a list of networks: JSON with "prefixes" of
// "ipv4Prefix" and "ipv6Prefix", as search engines publish it, or plain lines
// with comments after #.
func publishedNetworks(data []byte) (networks []netip.Prefix, err error) {
	var texts []string
	if text := strings.TrimSpace(string(data)); strings.HasPrefix(text, "{") {
		var list struct {
			Prefixes []struct {
				IPv4 string `json:"ipv4Prefix"`
				IPv6 string `json:"ipv6Prefix"`
			} `json:"prefixes"`
		}
		if err := json.Unmarshal(data, &list); err != nil {
			return nil, fmt.Errorf("not JSON: %w", err)
		}
		for _, p := range list.Prefixes {
			texts = append(texts, p.IPv4+p.IPv6) // one of them is there
		}
	} else {
		for line := range strings.Lines(text) {
			line, _, _ = strings.Cut(line, "#")
			if line = strings.TrimSpace(line); line != "" {
				texts = append(texts, line)
			}
		}
	}
	for _, text := range texts {
		network, err := parsePrefix(scalar{text: text})
		if err != nil {
			return nil, err
		}
		if network.Bits() == 0 {
			return nil, fmt.Errorf("%s is everyone", text)
		}
		networks = append(networks, network)
	}
	if len(networks) == 0 {
		return nil, fmt.Errorf("names no network")
	}
	return networks, nil
}

func (d *decoder) checkCrawlers(c *Config) {
	listed := places[string]{}
	for i, crawler := range c.Crawlers {
		path := fmt.Sprintf("crawlers[%d]", i)
		if other, twice := listed.twice(crawler.Name, i); twice && d.sound(path+".name") {
			d.problem(path+".name", "%q is also the name of crawlers[%d]", crawler.Name, other)
		}
		if len(crawler.Domains) == 0 && len(crawler.Files) == 0 && d.sound(path+".domains", path+".files") {
			d.problem(path, "needs domains or files: its User-Agent alone proves nothing")
		}
	}
}
