package proxy

import "strings"

// hostName returns the name in a Host header: in lower case, without port and
// trailing dot. ok is false for junk, such as "shop:80:evil".
func hostName(s string) (name string, ok bool) {
	if len(s) > 0 && s[0] == '[' {
		end := strings.IndexByte(s, ']')
		if end < 0 || !validPort(s[end+1:]) {
			return "", false
		}
		for _, c := range []byte(s[1:end]) {
			if _, isHex := hex(c); !isHex && c != ':' && c != '.' {
				return "", false
			}
		}
		return strings.ToLower(s[:end+1]), end > 1
	}
	name = s
	if colon := strings.IndexByte(s, ':'); colon >= 0 {
		if !validPort(s[colon:]) {
			return "", false
		}
		name = s[:colon]
	}
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	return name, validName(name)
}

// validPort reports whether s is empty or a colon with at most five digits.
func validPort(s string) bool {
	if s == "" {
		return true
	}
	if s[0] != ':' || len(s) > 6 {
		return false
	}
	for _, c := range []byte(s[1:]) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// validName reports whether s is a host name in lower case: labels of letters,
// digits, hyphens and, since some have them, underscores.
func validName(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	last := byte('.')
	for _, c := range []byte(s) {
		if c == '.' && last == '.' {
			return false
		}
		if c != '.' && c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return false
		}
		last = c
	}
	return last != '.'
}

func validPattern(s string) bool {
	if s == "*" {
		return true
	}
	if strings.HasPrefix(s, "[") {
		name, ok := hostName(s)
		return ok && name == s
	}
	return validName(strings.TrimPrefix(s, "*."))
}
