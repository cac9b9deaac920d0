package crowd

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
)

// jar keeps the cookies of one visitor, of one site. A hundred thousand of them
// must fit in memory, so it keeps no more than names and values.
type jar struct{ pairs []string } // name=value

// keep takes what an answer sets and drops what it deletes.
func (j *jar) keep(cookies []*http.Cookie) {
	for _, c := range cookies {
		pair := c.Name + "=" + c.Value
		at := -1
		for i, p := range j.pairs {
			if strings.HasPrefix(p, c.Name+"=") {
				at = i
				break
			}
		}
		switch gone := c.MaxAge < 0; {
		case gone && at >= 0:
			j.pairs = append(j.pairs[:at], j.pairs[at+1:]...)
		case gone:
		case at >= 0:
			j.pairs[at] = pair
		default:
			j.pairs = append(j.pairs, pair)
		}
	}
}

// header is the Cookie header, "" where there is none.
func (j *jar) header() string { return strings.Join(j.pairs, "; ") }

// ticket returns the token under the name, with or without the prefix that it
// has over HTTPS.
func (j *jar) ticket(name string) string {
	for _, p := range j.pairs {
		if key, value, _ := strings.Cut(strings.TrimPrefix(p, hostPrefix), "="); key == name && value != "" {
			return value
		}
	}
	return ""
}

func queueCookie(activity int64) string { return "ropeline-queue-" + strconv.FormatInt(activity, 10) }
func admissionCookie(activity int64) string {
	return "ropeline-admission-" + strconv.FormatInt(activity, 10)
}
func workCookie(activity int64) string { return "ropeline-work-" + strconv.FormatInt(activity, 10) }

// hostPrefix is what the names of cookies begin with over HTTPS.
const hostPrefix = "__Host-"

// claims are what a token says. A visitor cannot tell whether they are true.
type claims struct {
	Visitor string `json:"sub"`
	Number  int64  `json:"num"`
	Index   *int64 `json:"idx"`
	Epoch   int64  `json:"epo"`
	Signed  int64  `json:"iat"`
	Until   int64  `json:"exp"`
	Max     int64  `json:"max"`
}

// readToken returns the claims of a token; false: it is none.
func readToken(token string) (claims, bool) {
	var c claims
	_, rest, _ := strings.Cut(token, ".")
	payload, _, found := strings.Cut(rest, ".")
	if !found {
		return c, false
	}
	text, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil || json.Unmarshal(text, &c) != nil {
		return claims{}, false
	}
	return c, true
}

// session is what an admission token says.
func (c claims) session() *Session {
	// An id stands in every line of a history that tells of it, and is random: a
	// part is enough to tell sessions apart, and too little to be of use to anyone.
	return &Session{ID: c.Visitor[:min(12, len(c.Visitor))], Number: c.Number, Epoch: c.Epoch, Signed: c.Signed, Until: c.Until, Max: c.Max}
}
