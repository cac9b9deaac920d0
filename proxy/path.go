package proxy

import (
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// A path can be read in several ways: with escapes decoded once or twice, with
// `\` for `/`, with `//` merged, with dot segments followed, with `;` parameters
// cut off. Which of them the shop behind us follows we cannot know, so a path is
// gated where any of its readings is: that leaves no spelling that is free to
// the gateway and the protected page to the shop. The shop is sent the path as
// it came, whichever reading gated it.
//
// Nearly all paths have one reading, and cost a look at each byte.

const (
	// maxReadings bounds the work on one path. Each oddity at most doubles the
	// readings; a path with five kinds of them at once is an attack.
	maxReadings = 32

	// maxOddPath is the longest path, in bytes, whose readings are sought. A
	// long product name in escaped Japanese has a few hundred.
	maxOddPath = 2048
)

// plainPath reports whether p has only one reading: nothing but segments of
// plain characters, each ending in one that no server drops.
func plainPath(p string) bool {
	if p == "" || p[0] != '/' {
		return false
	}
	last := byte('/')
	for i := 1; i < len(p); i++ {
		c := p[i]
		if !plainByte[c] || c == '/' && (last == '/' || last == '.') {
			return false
		}
		last = c
	}
	return last != '.'
}

// plainByte marks the characters that mean the same to every server. Missing
// are the escape, the parameter and the backslash, which servers read
// differently, and all that a request line may not hold unescaped.
var plainByte = func() (plain [256]bool) {
	for c := range 256 {
		plain[c] = 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
			strings.IndexByte("/-_.~!$&'()*+,=:@", byte(c)) >= 0
	}
	return plain
}()

// readings returns every path that a server may take u's for. The first is the
// plain one: all escapes decoded once. ok is false where some reading is one
// that no honest client sends, or where there are too many: such a request is
// refused.
func readings(u *url.URL) (all []string, ok bool) {
	raw := u.EscapedPath()
	if len(raw) > maxOddPath || !strings.HasPrefix(raw, "/") {
		return nil, false
	}
	all = append(all, u.Path)
	if start := decodePlain(raw); start != u.Path {
		all = append(all, start)
	}
	for i := 0; i < len(all); i++ {
		if hostile(all[i]) {
			return nil, false
		}
		for _, reread := range rereadings {
			r := reread(all[i])
			if slices.Contains(all, r) {
				continue
			}
			if len(all) == maxReadings {
				return nil, false
			}
			all = append(all, r)
		}
	}
	return all, true
}

// rereadings are what servers do to a path, each on its own; readings combines
// them in every order.
var rereadings = [...]func(string) string{
	decode,
	compatible,
	backslashes,
	cutQuery,
	cutParams,
	trimSegments,
	mergeSlashes,
	followDots,
}

// hostile reports whether p holds what no honest client sends and servers
// treat in unforeseeable ways: control characters, at which some of them cut
// the path, and characters encoded longer than need be, which some decode.
func hostile(p string) bool {
	for i := 0; i < len(p); i++ {
		c := p[i]
		if c < 0x20 || c == 0x7f {
			return true
		}
		if i+1 == len(p) || p[i+1]&0xc0 != 0x80 {
			continue
		}
		switch {
		case c == 0xc0, c == 0xc1, c == 0xe0 && p[i+1] < 0xa0, c == 0xf0 && p[i+1] < 0x90:
			return true
		}
	}
	return false
}

// decodePlain decodes the escapes in p that mean the same to every server that
// decodes at all, and leaves those of delimiters.
func decodePlain(p string) string {
	return unescape(p, func(c byte) bool { return strings.IndexByte(`/\;?#%`, c) < 0 })
}

// decode decodes all escapes in p once.
func decode(p string) string { return unescape(p, func(byte) bool { return true }) }

// unescape decodes the escapes in p that stand for a wanted byte. What is no
// escape stays.
func unescape(p string, wanted func(byte) bool) string {
	if !strings.Contains(p, "%") {
		return p
	}
	b := make([]byte, 0, len(p))
	for i := 0; i < len(p); i++ {
		if p[i] == '%' && i+2 < len(p) {
			hi, ok1 := hex(p[i+1])
			lo, ok2 := hex(p[i+2])
			if c := hi<<4 | lo; ok1 && ok2 && wanted(c) {
				b = append(b, c)
				i += 2
				continue
			}
		}
		b = append(b, p[i])
	}
	return string(b)
}

func hex(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10, true
	}
	return 0, false
}

// compatible is what frameworks that normalize Unicode read: a full-width
// solidus becomes a slash. The two slashes that normalization spares are what
// conversions to older character sets make of them.
func compatible(p string) string {
	if isASCII(p) {
		return p
	}
	return slashes.Replace(norm.NFKC.String(p))
}

var slashes = strings.NewReplacer("\u2044", "/", "\u2215", "/", "\u2216", `\`)

func isASCII(p string) bool {
	for i := range len(p) {
		if p[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// backslashes reads them as slashes, also where they alone are decoded.
func backslashes(p string) string { return backslash.Replace(p) }

var backslash = strings.NewReplacer(`\`, "/", "%5c", "/", "%5C", "/")

// cutQuery ends the path where a delimiter, once decoded, would end it.
func cutQuery(p string) string {
	if i := strings.IndexAny(p, "?#"); i >= 0 {
		return p[:i]
	}
	return p
}

// cutParams takes the parameters off each segment, as servlet containers do,
// also where their delimiter alone is decoded.
func cutParams(p string) string {
	return eachSegment(param.Replace(p), ";", func(s string) string {
		s, _, _ = strings.Cut(s, ";")
		return s
	})
}

var param = strings.NewReplacer("%3b", ";", "%3B", ";")

// trimSegments takes off what Windows ignores at the end of a name.
func trimSegments(p string) string {
	return eachSegment(p, ". ", func(s string) string {
		s = strings.TrimRight(s, " ")
		if strings.Trim(s, ".") == "" {
			return s // dot segments are followDots' to read
		}
		return strings.TrimRight(s, ". ")
	})
}

// eachSegment rewrites the segments of p, if p holds any of chars.
func eachSegment(p, chars string, rewrite func(string) string) string {
	if !strings.ContainsAny(p, chars) {
		return p
	}
	segments := strings.Split(p, "/")
	for i, s := range segments {
		segments[i] = rewrite(s)
	}
	return strings.Join(segments, "/")
}

func mergeSlashes(p string) string {
	if !strings.Contains(p, "//") {
		return p
	}
	var b strings.Builder
	for i := range len(p) {
		if p[i] != '/' || i == 0 || p[i-1] != '/' {
			b.WriteByte(p[i])
		}
	}
	return b.String()
}

// followDots resolves dot segments as RFC 3986 does, which keeps empty
// segments: merging them first is another reading.
func followDots(p string) string {
	if !strings.Contains(p, "/.") {
		return p
	}
	var kept []string
	segments := strings.Split(strings.TrimPrefix(p, "/"), "/")
	for i, s := range segments {
		last := i == len(segments)-1
		switch {
		case s != "." && s != "..":
			kept = append(kept, s)
			continue
		case s == ".." && len(kept) > 0:
			kept = kept[:len(kept)-1]
		}
		if last {
			kept = append(kept, "")
		}
	}
	return "/" + strings.Join(kept, "/")
}

// fold is p in the one spelling that a shop blind to case may take it for.
// Gated paths are compared folded: /DROP is /drop, though a shop that tells
// them apart would only have answered that there is no such page.
func fold(p string) string {
	for i := range len(p) {
		if c := p[i]; c >= utf8.RuneSelf || 'A' <= c && c <= 'Z' {
			return strings.Map(foldRune, p)
		}
	}
	return p
}

// foldRune picks one of all the runes equal under case folding, the lower-case
// letter where it is ASCII: the Kelvin sign is a k.
func foldRune(r rune) rune {
	least := r
	for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
		least = min(least, f)
	}
	if 'A' <= least && least <= 'Z' {
		least += 'a' - 'A'
	}
	return least
}
