package visitor

// claims are what crawlers write into their User-Agent, in lower case: nearly
// all have a "+" before the address that tells of them.
var claims = [...]string{"+http", "bot/", "bot-", "spider", "slurp", "crawler", "-google", "google-", "googleother", "facebookexternalhit"}

// saysCrawler reports whether a User-Agent says that it is a crawler's. It is
// only a claim, and good for nothing but to answer it as such.
func saysCrawler(agent string) bool {
	for i := range len(agent) {
		switch agent[i] | 0x20 {
		case '+', '-', 'b', 's', 'c', 'g', 'f': // that of a claim
		default:
			continue
		}
		for _, claim := range claims {
			if hasFold(agent[i:], claim) && !(claim == "bot/" && i >= 2 && hasFold(agent[i-2:], "cubot/")) { // a make of phones
				return true
			}
		}
	}
	return false
}

// hasFold is strings.HasPrefix in any ASCII case; prefix is lower-case.
func hasFold(s, prefix string) bool {
	if len(s) < len(prefix) {
		return false
	}
	for i := range len(prefix) {
		c := s[i]
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != prefix[i] {
			return false
		}
	}
	return true
}
