package e2e

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"hash"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A visitor inside fills the only seat, so that whoever comes must wait.
func full(t *testing.T, g *gateway) *visitor {
	t.Helper()
	first := newVisitor(t, g)
	first.Enter(t)
	first.keep(t, drop)
	return first
}

const oneSeat = "capacity: 1, session: {idle: 60s, max: 10m}"

func TestValidate_SaysWhatIsWrongAndWhere(t *testing.T) {
	t.Parallel()
	const good = "upstreams: {shop: {servers: [{url: \"http://127.0.0.1:9000\"}]}}\nroutes: [{upstream: shop}]\n"
	for name, c := range map[string]struct {
		yaml   string
		status int
		want   []string
	}{
		"good":      {good, 0, []string{"is valid"}},
		"unknown":   {good + "lisen: {http: \":80\"}\n", 1, []string{"ropeline.yaml:3:", "lisen", "unknown key", "did you mean listen?"}},
		"duplicate": {good + "poll: {min: 1s}\npoll: {min: 2s}\n", 1, []string{"ropeline.yaml:4:1: poll: ", "stands twice, first in line 3"}},
		"mistyped":  {good + "poll: {min: soon}\ndrain: {delay: [1s]}\n", 1, []string{"ropeline.yaml:3:", "poll.min", "ropeline.yaml:4:", "drain.delay", "2 problems"}},
		"empty":     {"", 1, []string{"ropeline.yaml:1:1: ", "empty"}},
		"dangling":  {good + "x-old: {}\nactivities: [{id: 7, name: Drop}]\n", 0, []string{"is valid: 1 activity", "no route leads to activity 7"}},
		"nowhere":   {strings.Replace(good, "{upstream: shop}", "{upstream: shpo}", 1), 1, []string{"ropeline.yaml:2:", "routes[0].upstream", "did you mean shop?"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			write(t, filepath.Join(dir, "ropeline.yaml"), c.yaml)
			status, said := ropeline(t, dir, "validate")
			if status != c.status {
				t.Errorf("exit status: got %d, want %d", status, c.status)
			}
			for _, want := range c.want {
				if !strings.Contains(said, want) {
					t.Errorf("got %q, want it to say %q", said, want)
				}
			}
			if c.status == 0 {
				return
			}
			// The gateway itself does not start on it, for the same reasons.
			status, started := ropeline(t, dir, "run")
			if status != 1 || !strings.Contains(started, c.want[0]) {
				t.Errorf("run: got status %d and %q, want 1 and %q", status, started, c.want[0])
			}
			if _, err := os.Stat(filepath.Join(dir, "ropeline.db")); err == nil {
				t.Error("a store was made for a file that is refused")
			}
		})
	}
}

func TestCommands_TellRefusedFromMisused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for args, want := range map[string]struct {
		status int
		says   string
	}{
		"run --config away.yaml":      {1, "away.yaml:1:1: no such file or directory"},
		"validate --config away.yaml": {1, "away.yaml:1:1: no such file or directory"},
		"":                            {2, "name a command"},
		"runn":                        {2, "unknown command"},
		"run --confg x":               {2, "unknown flag"},
		"run x":                       {2, "unknown command"},
		"healthcheck --admin":         {2, "needs an argument"},
		"version":                     {0, "ropeline "},
	} {
		status, said := ropeline(t, dir, strings.Fields(args)...)
		if status != want.status || !strings.Contains(said, want.says) {
			t.Errorf("ropeline %s: got status %d and %q, want %d and %q", args, status, said, want.status, want.says)
		}
	}
}

func TestHealthcheck_TellsReadyFromDrainingFromAway(t *testing.T) {
	t.Parallel()
	shop := openShop(t)
	yaml := strings.Replace(settings(shop, oneSeat), "delay: 0s", "delay: 1m", 1)
	g := start(t, yaml)
	check := func() int {
		status, _ := ropeline(t, g.dir, "healthcheck", "--admin", g.Admin)
		return status
	}
	if got := check(); got != 0 {
		t.Errorf("a gateway that serves: got %d, want 0", got)
	}
	g.Signal(syscall.SIGTERM)
	eventually(t, "the gateway reports that it drains", func() bool { return g.Ready() == http.StatusServiceUnavailable })
	if got := check(); got != 1 {
		t.Errorf("a gateway that drains: got %d, want 1", got)
	}
	g.Kill()
	if got := check(); got != 3 {
		t.Errorf("no gateway: got %d, want 3", got)
	}
}

func TestRun_SaysWhoseAPortIs(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for variable, key := range map[string]string{"ROPELINE_LISTEN_HTTP": "listen.http", "ROPELINE_LISTEN_ADMIN": "listen.admin"} {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "ropeline.yaml"), settings(&shop{URL: "http://127.0.0.1:1"}, oneSeat))
		cmd := command(dir, "run")
		cmd.Env = append(cmd.Env, "ROPELINE_LISTEN_HTTP=127.0.0.1:0", "ROPELINE_LISTEN_ADMIN=127.0.0.1:0", variable+"="+taken.Addr().String())
		status, said := ended(t, cmd)
		if want := key + ": " + taken.Addr().String() + " is in use"; status != 1 || !strings.Contains(said, want) {
			t.Errorf("%s: got status %d and %q, want 1 and %q", key, status, said, want)
		}
	}
}

func TestRun_SaysWhyItsStoreCannotBeOpened(t *testing.T) {
	t.Parallel()
	good := start(t, settings(openShop(t), oneSeat)) // has its file open
	content, err := os.ReadFile(filepath.Join(good.dir, "ropeline.db"))
	if err != nil {
		t.Fatal(err)
	}
	// Root may write anywhere; an ordinary user has to reach its own folder.
	dir, err := os.MkdirTemp("", "ropeline-e2e-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "garbage.db"), strings.Repeat("not a store ", 10_000))
	// Half of it may be whole: the file grows ahead of what is in it.
	write(t, filepath.Join(dir, "torn.db"), string(content[:5*os.Getpagesize()/2]))
	write(t, filepath.Join(dir, "readonly.db"), string(content))
	if err := os.Chmod(filepath.Join(dir, "readonly.db"), 0o444); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ path, want string }{
		"read-only":    {filepath.Join(dir, "readonly.db"), "permission denied"},
		"no folder":    {filepath.Join(dir, "away", "ropeline.db"), "no such file or directory"},
		"a folder":     {dir, "is a directory"},
		"disk full":    {"/dev/full", "no space left on device"},
		"another's":    {filepath.Join(good.dir, "ropeline.db"), "another process has it open"},
		"not a store":  {filepath.Join(dir, "garbage.db"), "invalid database"},
		"half a store": {filepath.Join(dir, "torn.db"), "torn.db"},
	} {
		t.Run(name, func(t *testing.T) {
			yaml := settings(&shop{URL: "http://127.0.0.1:1"}, oneSeat, fmt.Sprintf("store: {path: %q}", c.path))
			write(t, filepath.Join(dir, "ropeline.yaml"), yaml)
			cmd := command(dir, "run")
			cmd.Env = append(cmd.Env, "ROPELINE_LISTEN_HTTP=127.0.0.1:0", "ROPELINE_LISTEN_ADMIN=127.0.0.1:0")
			if os.Getuid() == 0 && name == "read-only" {
				cmd.SysProcAttr.Credential = &syscall.Credential{Uid: 65534, Gid: 65534}
			}
			status, said := ended(t, cmd)
			if status != 1 || !strings.Contains(said, "store.path: ") || !strings.Contains(said, c.want) {
				t.Errorf("got status %d and %q, want 1, store.path and %q", status, said, c.want)
			}
			if strings.Contains(said, "goroutine ") {
				t.Errorf("it panicked:\n%s", said)
			}
		})
	}
}

func TestUpstream_DownIsABrandedAnswerAndPlacesAreKept(t *testing.T) {
	t.Parallel()
	shop := openShop(t)
	g := start(t, settings(shop, oneSeat))
	inside := newVisitor(t, g)
	inside.Enter(t)
	waiting := newVisitor(t, g)
	place := waiting.Join(t)
	waiting.keep(t, poll)

	shop.Close()
	page := inside.Open(t, "/drop")
	if page.Code != http.StatusBadGateway || !strings.Contains(page.Body, "The shop is not answering") || !strings.Contains(page.Body, "Your place is kept.") {
		t.Errorf("shop away: got %d %s, want a 502 that says so and that the place is kept", page.Code, page.Body)
	}
	if page.Header.Get("Retry-After") == "" || page.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("shop away: got headers %v, want Retry-After and no-store", page.Header)
	}
	call, err := inside.do(t.Context(), http.MethodGet, "/drop", false)
	if err != nil || call.Code != http.StatusBadGateway || !strings.Contains(call.Body, `"error":"UPSTREAM_UNREACHABLE"`) {
		t.Errorf("shop away: a call got %d %s %v", call.Code, call.Body, err)
	}
	if got := waiting.Status(t); got.Number != place.Number || got.State != "waiting" {
		t.Errorf("shop away: the visitor who waits got %+v, want number %d", got, place.Number)
	}

	// The seat falls free while the shop is away, and no one is sent there.
	inside.Leave(t)
	eventually(t, "who waits is told that the line is paused", func() bool {
		got, err := waiting.do(t.Context(), http.MethodGet, "/drop", false)
		return err == nil && strings.Contains(got.Body, `"code":"PAUSED"`)
	})
	g.Log.Await(t, 0, "the room is shut", func(l entry) bool { return l["message"] == "room shut, its upstream is down" })
	if got := waiting.Status(t); got.Number != place.Number || got.State != "waiting" {
		t.Errorf("shop away, and a seat free: the visitor who waits got %+v, want number %d", got, place.Number)
	}
	shop.Open()
	waiting.Enter(t)
	for _, h := range shop.Hits() {
		if h.Number != 1 && h.Number != place.Number {
			t.Errorf("the shop saw number %d, want only 1 and %d", h.Number, place.Number)
		}
	}
	if got := newVisitor(t, g).Join(t).Number; got != 3 {
		t.Errorf("the next visitor got number %d, want 3", got)
	}
}

// secret is the key of the gateways whose tokens these tests make themselves.
const secret = "0123456789abcdef0123456789abcdef"

func base64url(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// forge makes a token of any header and claims, signed with a key.
func forge(header, claims, key string, with func() hash.Hash) string {
	text := base64url(header) + "." + base64url(claims)
	mac := hmac.New(with, []byte(key))
	mac.Write([]byte(text))
	return text + "." + base64url(string(mac.Sum(nil)))
}

// damages returns a good token with each kind of damage.
func damages(t *testing.T, token string) map[string]string {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("a token has %d parts, want 3", len(parts))
	}
	header, claims := decode(t, parts[0]), decode(t, parts[1])
	audience := regexp.MustCompile(`"aud":("[a-z]*"|\[[^]]*\])`)
	other := "queue"
	if strings.Contains(audience.FindString(claims), other) {
		other = "admission"
	}
	made := map[string]string{
		"one part":        parts[0],
		"two parts":       parts[0] + "." + parts[1],
		"four parts":      token + ".x",
		"dots":            "..",
		"no signature":    parts[0] + "." + parts[1] + ".",
		"no header":       "." + parts[1] + "." + parts[2],
		"no claims":       parts[0] + ".." + parts[2],
		"junk":            "%00<script>",
		"10 KB":           strings.Repeat("A", 10_000),
		"alg none":        base64url(strings.Replace(header, "HS256", "none", 1)) + "." + parts[1] + ".",
		"alg None":        base64url(strings.Replace(header, "HS256", "None", 1)) + "." + parts[1] + "." + parts[2],
		"alg HS512":       forge(strings.Replace(header, "HS256", "HS512", 1), claims, secret, sha512.New),
		"alg EdDSA":       forge(strings.Replace(header, "HS256", "EdDSA", 1), claims, secret, sha256.New),
		"other key":       forge(header, claims, strings.Repeat("x", 32), sha256.New),
		"empty key":       forge(header, claims, "", sha256.New),
		"unknown kid":     forge(strings.Replace(header, `"k1"`, `"k2"`, 1), claims, secret, sha256.New),
		"kid is a path":   forge(strings.Replace(header, `"k1"`, `"../../../dev/null"`, 1), claims, "", sha256.New),
		"kid is a number": forge(strings.Replace(header, `"k1"`, `1`, 1), claims, secret, sha256.New),
		"no kid":          forge(strings.Replace(header, `"kid"`, `"kit"`, 1), claims, secret, sha256.New),
		"crit":            forge(strings.Replace(header, `{`, `{"crit":["exp"],"b64":false,`, 1), claims+" ", strings.Repeat("y", 32), sha256.New),
		"no exp":          forge(header, strings.Replace(claims, `"exp"`, `"exq"`, 1), secret, sha256.New),
		"expired":         forge(header, replaceClaim(t, claims, "exp", "1000000000"), secret, sha256.New),
		"no issuer":       forge(header, strings.Replace(claims, `"iss"`, `"ist"`, 1), secret, sha256.New),
		"other issuer":    forge(header, strings.Replace(claims, `"ropeline"`, `"r0peline"`, 1), secret, sha256.New),
		"no subject":      forge(header, strings.Replace(claims, `"sub"`, `"sup"`, 1), secret, sha256.New),
		"no audience":     forge(header, strings.Replace(claims, `"aud"`, `"oud"`, 1), secret, sha256.New),
		"for both uses":   forge(header, audience.ReplaceAllString(claims, `"aud":["queue","admission"]`), secret, sha256.New),
		"for other use":   forge(header, audience.ReplaceAllString(claims, `"aud":"`+other+`"`), secret, sha256.New),
		"for no use":      forge(header, audience.ReplaceAllString(claims, `"aud":[]`), secret, sha256.New),
		"other activity":  forge(header, replaceClaim(t, claims, "act", "8"), secret, sha256.New),
		"other tenant":    forge(header, strings.Replace(claims, `"default"`, `"someone"`, 1), secret, sha256.New),
		"number 0":        forge(header, replaceClaim(t, claims, "num", "0"), secret, sha256.New),
		"negative number": forge(header, replaceClaim(t, claims, "num", "-1"), secret, sha256.New),
		"epoch 0":         forge(header, replaceClaim(t, claims, "epo", "0"), secret, sha256.New),
		"not JSON":        forge(header, "claims", secret, sha256.New),
		"JSON null":       forge(header, "null", secret, sha256.New),
	}
	if strings.Contains(claims, `"max"`) {
		// A session outlives its tokens: of one that goes on they still pass.
		delete(made, "expired")
		stranger := strings.Replace(claims, `"sub":"`, `"sub":"X`, 1)
		made["expired, of no session"] = forge(header, replaceClaim(t, stranger, "exp", "1000000000"), secret, sha256.New)
		made["over, of no session"] = forge(header, replaceClaim(t, replaceClaim(t, stranger, "exp", "1000000000"), "max", "1000000001"), secret, sha256.New)
		delete(made, "number 0") // of an admission it is not the line's to say
	}
	for i, part := range parts {
		cut := append([]string(nil), parts...)
		cut[i] = part[:len(part)-1]
		made[fmt.Sprintf("part %d cut", i+1)] = strings.Join(cut, ".")
		cut[i] = part[1:]
		made[fmt.Sprintf("part %d beheaded", i+1)] = strings.Join(cut, ".")
		cut[i] = part + "="
		made[fmt.Sprintf("part %d padded", i+1)] = strings.Join(cut, ".")
	}
	// Every bit of what base64url decodes to, a few in each part; and the two
	// lowest of the last letter, which decode to nothing.
	at := 0
	for i, part := range parts {
		for _, place := range []int{0, len(part) / 3, len(part) / 2, len(part) - 1} {
			for bit := range 6 {
				b := []byte(token)
				b[at+place] = flip(b[at+place], bit)
				made[fmt.Sprintf("part %d, letter %d, bit %d", i+1, place, bit)] = string(b)
			}
		}
		at += len(part) + 1
	}
	maps.DeleteFunc(made, func(_, damaged string) bool { return damaged == token })
	return made
}

const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// flip flips one of the six bits that a letter of base64url stands for.
func flip(letter byte, bit int) byte {
	return letters[strings.IndexByte(letters, letter)^1<<bit]
}

func decode(t *testing.T, part string) string {
	t.Helper()
	text, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// replaceClaim sets the number that a claim has.
func replaceClaim(t *testing.T, claims, name, value string) string {
	t.Helper()
	before, rest, ok := strings.Cut(claims, `"`+name+`":`)
	if !ok {
		t.Fatalf("claims %s lack %s", claims, name)
	}
	end := strings.IndexAny(rest, ",}")
	return before + `"` + name + `":` + value + rest[end:]
}

func TestToken_DamagedIsANewVisitorAndNeverAPass(t *testing.T) {
	t.Parallel()
	shop := openShop(t)
	g := start(t, settings(shop, oneSeat, fmt.Sprintf("keys: [{kid: k1, secret: %q}]", secret)))
	inside := newVisitor(t, g)
	inside.Enter(t)
	waiting := newVisitor(t, g)
	place := waiting.Join(t)
	queue, admission := waiting.Cookie("ropeline-queue-7"), inside.Cookie("ropeline-admission-7")
	if queue == "" || admission == "" {
		t.Fatal("the visitors have no tokens")
	}

	// ask sends a request that may not take a place, with one cookie.
	ask := func(path, cookie string, page bool) answer {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.Public+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Cookie", cookie)
		r.Header.Set("Accept", "application/json")
		r.Header.Set("Sec-Fetch-Dest", "image")
		if page {
			r.Header.Set("Accept", "text/html")
			r.Header.Set("Sec-Purpose", "prefetch")
		}
		got, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer got.Body.Close()
		body, err := io.ReadAll(got.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer{got.StatusCode, got.Header, string(body), got.Close}
	}
	// That very request passes, or is known, with the true tokens: else the
	// cases below would prove nothing.
	if got := ask("/drop", "ropeline-admission-7="+admission, false); got.Code != http.StatusOK {
		t.Fatalf("the true admission token: got %d %s", got.Code, got.Body)
	}
	if s, err := ask("/drop", "ropeline-queue-7="+queue, false).status(); err != nil || s.Number != place.Number {
		t.Fatalf("the true queue token: got %+v %v", s, err)
	}
	if s, err := ask(poll, "ropeline-admission-7="+admission, false).status(); err != nil || s.State != "admitted" {
		t.Fatalf("a poll with the true admission token: got %+v %v", s, err)
	}
	served := len(shop.Hits())

	var cookies []string
	for what, token := range damages(t, queue) {
		cookies = append(cookies, what+"|ropeline-queue-7="+token)
	}
	for what, token := range damages(t, admission) {
		cookies = append(cookies, what+"|ropeline-admission-7="+token)
	}
	cookies = append(cookies,
		"a place as an admission|ropeline-admission-7="+queue,
		"an admission as a place|ropeline-queue-7="+admission,
		"under another activity's name|ropeline-admission-8="+admission+"; ropeline-queue-8="+queue,
		"under a name that is almost ours|ropeline-admission-07="+admission+"; Ropeline-Queue-7="+queue+"; ropeline-queue-7 x="+queue,
		"nothing|ropeline-admission-7=; ropeline-queue-7=",
	)
	for _, c := range cookies {
		what, cookie, _ := strings.Cut(c, "|")
		gate := ask("/drop", cookie, false)
		held, err := gate.status()
		if err != nil || gate.Code != http.StatusServiceUnavailable || held.Code != "WAITING" || held.State != "new" || held.Number != 0 {
			t.Errorf("%s: the gate answers %d %.300s, want a new visitor to be held", what, gate.Code, gate.Body)
		}
		polled := ask(poll, cookie, false)
		if s, err := polled.status(); err != nil || polled.Code != http.StatusOK || s.State != "new" || s.Number != 0 {
			t.Errorf("%s: a poll gets %d %.300s, want a new visitor", what, polled.Code, polled.Body)
		}
	}
	t.Logf("%d damaged tokens", len(cookies))
	if got := len(shop.Hits()); got != served {
		t.Errorf("%d damaged tokens reached the shop", got-served)
	}
	if got := newVisitor(t, g).Join(t).Number; got != 3 {
		t.Errorf("the next visitor got number %d, want 3", got)
	}

	// A person with a damaged token gets the page, and a place of their own.
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.Public+"/drop", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Cookie", "ropeline-admission-7="+queue+"; ropeline-queue-7="+admission)
	r.Header.Set("Accept", "text/html")
	person := newVisitor(t, g)
	page, err := person.send(r)
	if err != nil {
		t.Fatal(err)
	}
	if page.Code != http.StatusOK || !strings.Contains(page.Body, `data-state="waiting"`) {
		t.Errorf("a person with a damaged token got %d %.300s, want the page", page.Code, page.Body)
	}
	if got := person.Status(t); got.Number != 4 {
		t.Errorf("a person with a damaged token got %+v, want number 4", got)
	}
	// And the true ones are as good as before.
	if got := waiting.Status(t); got.Number != place.Number {
		t.Errorf("the visitor who waits has number %d, want %d", got.Number, place.Number)
	}
}

func TestCookies_ThousandsAreRefusedAndTakeNoPlace(t *testing.T) {
	t.Parallel()
	shop := openShop(t)
	g := start(t, settings(shop, oneSeat))
	full(t, g)
	waiting := newVisitor(t, g)
	place := waiting.Join(t)
	for _, c := range []struct{ what, cookies string }{
		{"3,000 cookies", strings.Repeat("a=1; ", 3000) + "b=2"},
		{"3,000 cookies in lines of their own", strings.Repeat("c=3\r\nCookie: ", 1000) + "d=4"},
		{"3,000 long cookies", strings.Repeat("longer=than the header may be; ", 3000) + "e=5"},
	} {
		// The visitor's own token among them makes no difference.
		got := raw(t, g, "GET /drop HTTP/1.1\r\nHost: "+host(g)+"\r\nAccept: text/html\r\nCookie: "+
			c.cookies+"\r\nCookie: ropeline-queue-7="+waiting.Cookie("ropeline-queue-7")+"\r\n\r\n")
		if got.Code != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("%s: got %d %.200s, want 431", c.what, got.Code, got.Body)
		}
	}
	if got := newVisitor(t, g).Join(t).Number; got != 3 {
		t.Errorf("the next visitor got number %d, want 3", got)
	}
	if got := waiting.Status(t); got.Number != place.Number {
		t.Errorf("the visitor who waits has number %d, want %d", got.Number, place.Number)
	}
}

func TestHost_JunkIsRefusedBeforeAnythingElse(t *testing.T) {
	t.Parallel()
	shop := openShop(t)
	g := start(t, strings.NewReplacer("{path: /drop,", "{host: shop.example, path: /drop,", "- {upstream", "- {host: shop.example, upstream").
		Replace(settings(shop, oneSeat)))
	for host, want := range map[string]int{
		"shop.example":             200,
		"SHOP.example.:80":         200,
		"other.example":            421,
		"127.0.0.1":                421,
		"shop.example.evil":        421,
		"shop.example:80:evil":     400,
		"shop.example@evil":        400,
		"shop.example/../x":        400,
		"shop example":             400,
		"shop.example\"><script>":  400,
		"":                         400,
		"shop.example\r\nHost: x":  400,
		"[::1":                     400,
		"shop.example:999999":      400,
		"shop\u2024example":        400,
		"shop.example%2f.evil":     400,
		strings.Repeat("a.", 2000): 400,
	} {
		got := raw(t, g, "GET / HTTP/1.1\r\nHost: "+host+"\r\nAccept: text/html\r\n\r\n")
		if got.Code != want {
			t.Errorf("Host %.60q: got %d, want %d", host, got.Code, want)
		}
		if strings.Contains(got.Body, "<script>") {
			t.Errorf("Host %q stands in the answer as it came: %s", host, got.Body)
		}
	}
	if got := len(shop.Hits()); got != 2 {
		t.Errorf("%d requests reached the shop, want the 2 that are for it", got)
	}
}

func host(g *gateway) string { return strings.TrimPrefix(g.Public, "http://") }

// raw sends bytes that no client would, and reads one answer.
func raw(t *testing.T, g *gateway, request string) answer {
	t.Helper()
	connection, err := net.Dial("tcp", host(g))
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	if err := connection.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	// A gateway that has read enough may answer and close before all is sent.
	_, sent := io.WriteString(connection, request)
	got, err := http.ReadResponse(bufio.NewReader(connection), nil)
	if err != nil {
		t.Fatalf("no answer to %.60q: %v (sent: %v)", request, err, sent)
	}
	defer got.Body.Close()
	body, _ := io.ReadAll(got.Body) // a closed connection may cut the words, not the status
	return answer{got.StatusCode, got.Header, string(body), got.Close}
}
