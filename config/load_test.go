package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/ropeline/ropeline/golden"
)

// corpus gives the files that match, each with the environment that stands
// beside it in NAME.env.
func corpus(t testing.TB, pattern string) map[string][]string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no file matches %s: %v", pattern, err)
	}
	environs := map[string][]string{}
	for _, file := range files {
		env, err := os.ReadFile(strings.TrimSuffix(file, ".yaml") + ".env")
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		environs[file] = strings.Split(strings.TrimSuffix(string(env), "\n"), "\n")
	}
	return environs
}

// TestLoad_Bad holds each bad file to the problems beside it in NAME.txt, all
// of them and exactly.
func TestLoad_Bad(t *testing.T) {
	for file, environ := range corpus(t, "testdata/bad/*.yaml") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			c, err := Load(file, environ)
			if err == nil {
				t.Fatalf("loaded, warnings %v", c.Warnings)
			}
			if c != nil {
				t.Error("a Config beside an error")
			}
			var problems Problems
			if !errors.As(err, &problems) || len(problems) == 0 {
				t.Fatalf("got the error %T, want Problems", err)
			}
			got := strings.ReplaceAll(err.Error(), filepath.Dir(file)+string(filepath.Separator), "") + "\n"
			golden.File(t, strings.TrimSuffix(file, ".yaml")+".txt", got)
			if strings.Contains(got, "hunter2") {
				t.Error("a problem shows a secret")
			}
		})
	}
}

// TestLoad_Good loads each good file without a problem, and with the warnings
// beside it in NAME.txt, if there is one.
func TestLoad_Good(t *testing.T) {
	for file, environ := range corpus(t, "testdata/good/*.yaml") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			c, err := Load(file, environ)
			if err != nil {
				t.Fatal(err)
			}
			want := strings.TrimSuffix(file, ".yaml") + ".txt"
			if len(c.Warnings) == 0 {
				if _, err := os.Stat(want); err == nil {
					t.Fatalf("no warnings, and %s expects some", want)
				}
				return
			}
			got := strings.ReplaceAll(Problems(c.Warnings).Error(), filepath.Dir(file)+string(filepath.Separator), "") + "\n"
			golden.File(t, want, got)
		})
	}
}

func TestLoad_Examples(t *testing.T) {
	for file := range corpus(t, "../examples/*/ropeline.yaml") {
		// Those that listen beyond loopback get the key from their surroundings.
		c, err := Load(file, []string{"ROPELINE_ADMIN_JWT_SECRET=" + strings.Repeat("x", 32)})
		if err != nil {
			t.Fatal(err)
		}
		if len(c.Warnings) != 0 {
			t.Errorf("%s: warnings %v", file, c.Warnings)
		}
	}
}

// The quickstart is where operators look keys up.
func TestLoad_QuickstartShowsEveryAvailableKey(t *testing.T) {
	text, err := os.ReadFile("../examples/quickstart/ropeline.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var walk func(path string, typ reflect.Type, f field)
	walk = func(path string, typ reflect.Type, f field) {
		for _, child := range fieldsOf(typ) {
			if child = f.below(child); child.bare {
				continue
			}
			childPath, childType := join(path, child.name), typ.Field(child.index).Type
			if childType.Kind() == reflect.Slice {
				childType = childType.Elem()
			}
			if childType.Kind() == reflect.Struct && !isScalar(childType) {
				walk(childPath, childType, child)
			} else if !bytes.Contains(text, []byte(child.name+":")) {
				t.Errorf("%s is not shown", childPath)
			}
		}
	}
	walk("", reflect.TypeFor[Config](), field{})
}

func TestLoad_MissingFile(t *testing.T) {
	_, err := Load("no-such-folder/ropeline.yaml", nil)
	if got, want := fmt.Sprint(err), "no-such-folder/ropeline.yaml:1:1: no such file or directory; ropeline init writes one, and --config names another"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestLoad_FolderOrHugeFile(t *testing.T) {
	folder := t.TempDir()
	if _, err := Load(folder, nil); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a folder: got %v", err)
	}
	huge := filepath.Join(folder, "huge.yaml")
	if err := os.WriteFile(huge, bytes.Repeat([]byte("#\n"), maxBytes/2+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(huge, nil); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("a huge file: got %v", err)
	}
}

// minimal is a file without any default changed.
const minimal = `upstreams: {shop: {servers: [{url: "http://127.0.0.1:9000"}]}}
activities: [{id: 1, name: A, rate: 10/s}]
routes: [{upstream: shop, activity: 1}]
`

// mustLoad loads text with environ, and wants no problem.
func mustLoad(t testing.TB, text string, environ ...string) *Config {
	t.Helper()
	c, err := load("ropeline.yaml", []byte(text), environ)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestLoad_Defaults(t *testing.T) {
	c := mustLoad(t, minimal)
	a, u := c.Activities[0], c.Upstreams[0]
	for _, v := range []struct {
		key       string
		got, want any
	}{
		{"listen", c.Listen, Listen{HTTP: ":8080", Admin: "127.0.0.1:8081", ProxyProtocol: "off"}},
		{"tls", c.TLS, TLS{Mode: "off", Redirect: true, ACME: ACME{CA: "https://acme-v02.api.letsencrypt.org/directory", Path: "ropeline-certs", CheckInterval: 10 * time.Minute}}},
		{"store.type", c.Store.Type, "memory"},
		{"store.path", c.Store.Path, "ropeline.db"},
		{"prefix", c.Prefix, "/_ropeline"},
		{"trusted_proxies", len(c.TrustedProxies), 0},
		{"keys", len(c.Keys), 0},
		{"poll", c.Poll, Poll{Min: 2 * time.Second, Max: time.Minute, Streams: 1000, Budget: Rate{2000, time.Second}}},
		{"traces", c.Traces, Traces{Sample: 0.01}},
		{"log", c.Log, Log{Level: "info", Format: "json", Access: true, AccessLimit: Rate{2000, time.Second}}},
		{"limits", c.Limits, Limits{HeaderBytes: 16384, HeaderTimeout: 10 * time.Second, IdleTimeout: 75 * time.Second}},
		{"drain", c.Drain, Drain{Delay: 5 * time.Second, Grace: 30 * time.Second}},
		{"redis", c.Store.Redis, Redis{Mode: "single", PoolSize: 10, MinIdleConns: 5, MaxRetries: 3, DialTimeout: 5 * time.Second, ReadTimeout: 3 * time.Second, WriteTimeout: 3 * time.Second}},
		{"database", c.Database, Database{Port: 5432, SSLMode: "prefer", MaxOpenConns: 25, MaxIdleConns: 5, ConnMaxLifetime: 300 * time.Second, ConnMaxIdleTime: 60 * time.Second}},
		{"spool", c.Spool, Spool{Path: "ropeline-spool", Max: 64 << 20}},
		{"upstream", u.Name + " " + u.Servers[0].URL.String(), "shop http://127.0.0.1:9000"},
		{"upstream.timeouts", u.Timeouts, UpstreamTimeouts{5 * time.Second, 5 * time.Second, 30 * time.Second, 0, 90 * time.Second}},
		{"tenant", a.Tenant, "default"},
		{"capacity", a.Capacity, int64(0)},
		{"burst", a.Burst, int64(5)},
		{"absence", a.Absence, 3 * time.Minute},
		{"hold_place", a.HoldPlace, 15 * time.Minute},
		{"claim", a.Claim, 90 * time.Second},
		{"session", a.Session, Session{10 * time.Minute, time.Hour}},
		{"mode", a.Mode, "auto"},
		{"start_at", a.StartAt.IsZero(), true},
		{"page.status", a.Page.Status, int64(200)},
		{"sku", a.SKU, ""},
		{"max_queue", a.MaxQueue, int64(0)},
		{"stock", a.Stock, Stock{Initial: -1}},
		{"admin.jwt", c.Admin.JWT, JWT{Alg: "HS256", Audience: "ropeline-admin"}},
		{"api", c.API, API{Prefix: "/_ropeline", EnterLimit: Rate{10, time.Minute}, JWT: APIJWT{Alg: "HS256"}}},
		{"sharing", a.Sharing, Sharing{"observe", 4, 2, time.Minute, Rate{1200, time.Minute}}},
		{"join_limit", a.JoinLimit, JoinLimit{Rate{120, time.Minute}, 32, 64}},
		{"work", a.Work, Work{0, 24}},
		{"route", c.Routes[0], Route{Host: "*", Path: "/", Activity: ActivityRef{ID: 1}, Upstream: "shop", Missing: "hold"}},
	} {
		if !reflect.DeepEqual(v.got, v.want) {
			t.Errorf("%s: got %+v, want %+v", v.key, v.got, v.want)
		}
	}
}

func TestLoad_Values(t *testing.T) {
	c, err := Load("testdata/good/full.yaml", nil)
	if err != nil {
		t.Fatal(err)
	}
	a := c.Activities[0]
	for _, v := range []struct {
		key       string
		got, want any
	}{
		{"upstreams by name", c.Upstreams[0].Name + " " + c.Upstreams[1].Name, "api_2 shop"},
		{"server", c.Upstreams[1].Servers[0].URL.String(), "https://shop.internal:8443"},
		{"timeouts", c.Upstreams[1].Timeouts.ResponseHeader, 90 * time.Second},
		{"name", a.Name, `Größe 42 – "Nacht"`},
		{"rate", a.Rate, Rate{120, time.Minute}},
		{"burst", a.Burst, int64(3)},
		{"hold_place", a.HoldPlace, time.Duration(0)},
		{"start", a.StartAt.UTC(), time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)},
		{"end", a.EndAt.UTC(), time.Date(2026, 11, 22, 12, 0, 0, 5e8, time.UTC)},
		{"message", a.Page.Message, "Back soon.\nThank you!"},
		{"highest rate's burst", c.Activities[1].Burst, int64(100_000)},
		{"activity by id", c.Routes[2].Activity.ID, int64(9007199254740991)},
		{"networks", c.TrustedProxies, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("2001:db8::/32")}},
		{"key", c.Keys[0].Secret.Reveal(), "0123456789abcdef0123456789abcdef"},
		{"bytes", []int64{c.Limits.HeaderBytes, c.Limits.BodyBytes}, []int64{8192, 10 << 20}},
		{"bare seconds", c.Database.ConnMaxLifetime, 600 * time.Second},
		{"sku", a.SKU, "shirt 42/ö"},
		{"max_queue", a.MaxQueue, int64(5000)},
		{"stock that is sold out", a.Stock, Stock{Initial: 0, Show: true, StopAt: 3}},
		{"stock that is not counted", c.Activities[1].Stock, Stock{Initial: -1}},
		{"claim", a.Identity.Claim, "sub"},
		{"activity by SKU", c.Routes[3].Activity, ActivityRef{Tenant: "acme-1", SKU: "shirt 42/ö"}},
		{"missing", c.Routes[3].Missing + " " + c.Routes[5].Missing, "open hold"},
		{"admin.jwt", c.Admin.JWT, JWT{Alg: "EdDSA", JWKSFile: "testdata/good/keys.json", Issuer: "https://login.example.com", Audience: "ropeline"}},
		{"api.jwt", c.API.JWT.Secret.Reveal(), "0123456789abcdef0123456789abcdef"},
		{"api at the root, without a limit", c.API.Prefix + c.API.EnterLimit.String(), ""},
		{"retention", c.Database.Retention, 90 * 24 * time.Hour},
		{"spool", c.Spool, Spool{Path: "/var/spool/ropeline", Max: 1 << 30}},
	} {
		if !reflect.DeepEqual(v.got, v.want) {
			t.Errorf("%s: got %+v, want %+v", v.key, v.got, v.want)
		}
	}
}

func TestLoad_AliasesAndMerges(t *testing.T) {
	c, err := Load("testdata/good/parked.yaml", nil)
	if err != nil {
		t.Fatal(err)
	}
	one, two := c.Activities[0], c.Activities[1]
	if one.Capacity != 10 || one.Rate != (Rate{6, time.Second}) || one.Session.Max != 5*time.Minute {
		t.Errorf("one: got %+v", one)
	}
	if two.Rate != (Rate{5, time.Second}) || two.Page.Status != 202 || two.Session.Idle != time.Minute {
		t.Errorf("two: got %+v", two)
	}
	if c.Routes[1].Upstream != "shop" {
		t.Errorf("route: got %+v", c.Routes[1])
	}
}

func TestLoad_Environment(t *testing.T) {
	file := "testdata/good/environment.yaml"
	c, err := Load(file, corpus(t, file)[file])
	if err != nil {
		t.Fatal(err)
	}
	a := c.Activities[0]
	for _, v := range []struct {
		key       string
		got, want any
	}{
		{"expanded in part", c.Upstreams[0].Servers[0].URL.Host, "shop.internal:9000"},
		{"expanded integer", a.ID, int64(5)},
		{"expanded in quotes", a.Capacity, int64(20)},
		{"expanded to a word that is a trap in YAML", a.Name, "no"},
		{"escapes and defaults", a.Page.Message, "Costs ${5}, or less! $ 1 {2}"},
		{"route", c.Routes[0].Activity.ID, int64(5)},
		{"secret", c.Keys[0].Secret.Reveal(), "0123456789abcdef0123456789abcdef"},
		{"overridden", c.Listen.HTTP, "127.0.0.1:80"},
		{"overridden with nothing", c.Listen.Admin, ""},
		{"overridden rate", c.Poll.Budget, Rate{50, time.Second}},
		{"overridden where the file has no section", c.Log.Access, false},
		{"overridden size", c.Limits.HeaderBytes, int64(32 << 10)},
		{"overridden at the top", c.Prefix, "/_queue"},
		{"left alone for Kubernetes", c.Database.Port, int64(5432)},
	} {
		if !reflect.DeepEqual(v.got, v.want) {
			t.Errorf("%s: got %+v, want %+v", v.key, v.got, v.want)
		}
	}
}

func TestLoad_KeyFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "k1")
	text := minimal + "keys: [{kid: k1, file: " + file + "}]\n"
	write(t, file, strings.Repeat("k", 32)+"\r\n")
	before := mustLoad(t, text)
	if got, want := before.Keys[0].Secret.Reveal(), strings.Repeat("k", 32); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	write(t, file, strings.Repeat("K", 32))
	if mustLoad(t, text).Hash == before.Hash {
		t.Error("another key has the same hash")
	}
}

func TestLoad_SecretsOfTheDatabaseAndTheBearersComeFromFiles(t *testing.T) {
	dir := t.TempDir()
	password, admin, shop := filepath.Join(dir, "password"), filepath.Join(dir, "admin"), filepath.Join(dir, "shop")
	write(t, password, "it's\\odd\n")
	write(t, admin, strings.Repeat("a", 32)+"\n")
	write(t, shop, strings.Repeat("s", 32))
	c := mustLoad(t, minimal+"listen: {admin: \":8081\"}\napi: {jwt_required: true}\n",
		"ROPELINE_DATABASE_HOST=db", "ROPELINE_DATABASE_MAX_OPEN_CONNS=7", "ROPELINE_DATABASE_CONN_MAX_LIFETIME=90",
		"ROPELINE_DATABASE_PASSWORD_FILE="+password, "ROPELINE_ADMIN_JWT_SECRET_FILE="+admin, "ROPELINE_API_JWT_SECRET_FILE="+shop)
	for _, v := range []struct {
		key       string
		got, want any
	}{
		{"password", c.Database.Password.Reveal(), `it's\odd`},
		{"max_open_conns", c.Database.MaxOpenConns, int64(7)},
		{"conn_max_lifetime", c.Database.ConnMaxLifetime, 90 * time.Second},
		{"admin", c.Admin.JWT.Secret.Reveal(), strings.Repeat("a", 32)},
		{"api", c.API.JWT.Secret.Reveal(), strings.Repeat("s", 32)},
	} {
		if v.got != v.want {
			t.Errorf("%s: got %v, want %v", v.key, v.got, v.want)
		}
	}
}

func write(t testing.TB, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestLoad_HashNamesWhatWasLoaded(t *testing.T) {
	text := minimal + "log: {level: \"${LEVEL:-info}\"}\n"
	base := mustLoad(t, text)
	if len(base.Hash) != 12 || mustLoad(t, text, "OTHER=1", "ROPELINE_CONFIG=x").Hash != base.Hash {
		t.Errorf("the hash %q is not of what was loaded alone", base.Hash)
	}
	seen := map[string]int{base.Hash: -1}
	for i, other := range []*Config{
		mustLoad(t, text+"\n"),
		mustLoad(t, text, "LEVEL=warn"),
		mustLoad(t, text, "ROPELINE_POLL_MIN=5s"),
		mustLoad(t, text, "ROPELINE_POLL_MIN=6s"),
		mustLoad(t, text, "ROPELINE_POLL_MAX=5s"),
	} {
		if j, twice := seen[other.Hash]; twice {
			t.Errorf("%d and %d have the same hash", i, j)
		}
		seen[other.Hash] = i
	}
}

func TestLoad_LaterKeysMaySayTheirDefault(t *testing.T) {
	mustLoad(t, minimal+`
tls: {mode: off}
store: {type: memory, redis: {mode: single, dial_timeout: 5, addresses: [], password: ""}}
limits: {conns_per_network: 0}
`)
}

func TestTags_CanBeRead(t *testing.T) {
	var walk func(path string, typ reflect.Type)
	walk = func(path string, typ reflect.Type) {
		for _, f := range fieldsOf(typ) {
			childPath, child := join(path, f.name), typ.Field(f.index).Type
			if f.doc == "" {
				t.Errorf("%s has no doc", childPath)
			}
			if isScalar(child) {
				for _, text := range []string{f.standard, f.min, f.max} {
					if text != "" {
						if err := f.bounds(child, f.mustConvert(child, text)); err != nil && text == f.standard {
							t.Errorf("%s: default %s: %v", childPath, text, err)
						}
					}
				}
				continue
			}
			if child.Kind() == reflect.Slice {
				child = child.Elem()
			}
			if child.Kind() == reflect.Struct && !isScalar(child) {
				walk(childPath, child)
			}
		}
	}
	walk("", reflect.TypeFor[Config]())
}

func TestVariables_NameOnePathEach(t *testing.T) {
	paths := map[string]string{}
	for _, own := range ownVariables {
		paths[own] = "the commands"
	}
	for path, name := range variables() {
		names := []string{name}
		if typeAt(path) == secretType {
			names = append(names, name+fileSuffix)
		}
		for _, name := range names {
			if other, twice := paths[name]; twice {
				t.Errorf("%s names %s and %s", name, path, other)
			}
			paths[name] = path
		}
	}
	for _, want := range []string{"ROPELINE_LISTEN_HTTP", "ROPELINE_DATABASE_MAX_OPEN_CONNS", "ROPELINE_STORE_REDIS_PASSWORD_FILE"} {
		if paths[want] == "" {
			t.Errorf("%s names nothing", want)
		}
	}
}

// keeper is what another package may do with a Secret.
type keeper struct {
	Shown  Secret
	hidden Secret
	List   []Secret
	Ref    *Secret
}

func TestSecret_NeverPrints(t *testing.T) {
	secret := NewSecret("hunter2")
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%10s"} {
		if got, want := fmt.Sprintf(verb, secret), "<secret>"; got != want {
			t.Errorf("%s: got %s, want %s", verb, got, want)
		}
	}
	k := keeper{Shown: secret, hidden: secret, List: []Secret{secret}, Ref: &secret}
	c := mustLoad(t, minimal+"keys: [{kid: k1, secret: hunter2hunter2hunter2hunter2hunter2}]\n")
	var out strings.Builder
	for _, v := range []any{secret, &secret, k, &k, *c, c.Keys, map[string]Secret{"a": secret}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T"} {
			fmt.Fprintf(&out, verb, v)
		}
		fmt.Fprintln(&out, v, fmt.Errorf("%w: %v", errors.ErrUnsupported, v))
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(text)
		if text, err = yaml.Marshal(v); err != nil {
			t.Fatal(err)
		}
		out.Write(text)
	}
	got := out.String()
	for _, leak := range []string{"hunter2", fmt.Sprintf("%x", "hunter2"), fmt.Sprintf("%X", "hunter2"), "104 117 110"} {
		if strings.Contains(got, leak) {
			t.Errorf("a secret is shown as %q", leak)
		}
	}
	if !strings.Contains(got, "<secret>") || secret.String() != "<secret>" {
		t.Error("a secret does not say that it is one")
	}
	if secret.Reveal() != "hunter2" || (Secret{}).Reveal() != "" {
		t.Error("a secret does not reveal its text")
	}
	if k.hidden != secret {
		t.Error("a copy is not equal")
	}
}

func TestRate_PerHour(t *testing.T) {
	for _, v := range []struct {
		rate Rate
		want int64
		text string
	}{
		{Rate{}, 0, ""},
		{Rate{1, time.Hour}, 1, "1/h"},
		{Rate{7, time.Minute}, 420, "7/m"},
		{Rate{200_000, time.Second}, 720_000_000, "200000/s"},
	} {
		if got := v.rate.PerHour(); got != v.want {
			t.Errorf("%v: got %d, want %d", v.rate, got, v.want)
		}
		if got := v.rate.String(); got != v.text {
			t.Errorf("got %q, want %q", got, v.text)
		}
	}
}

func TestBurst_IsTwoTicksRoundedUpAtLeastTwo(t *testing.T) {
	for _, v := range []struct {
		rate string
		want int64
	}{{"1/h", 2}, {"1/s", 2}, {"2/s", 2}, {"3/s", 2}, {"121/m", 2}, {"7201/h", 2}, {"200000/s", 100_000}} {
		c := mustLoad(t, strings.Replace(minimal, "10/s", v.rate, 1))
		if got := c.Activities[0].Burst; got != v.want {
			t.Errorf("%s: got %d, want %d", v.rate, got, v.want)
		}
	}
	c := mustLoad(t, strings.Replace(minimal, "rate: 10/s", "capacity: 1", 1))
	if got := c.Activities[0].Burst; got != 0 {
		t.Errorf("without a rate: got %d, want 0", got)
	}
}

func TestCollide(t *testing.T) {
	for _, v := range []struct {
		a, b string
		want bool
	}{
		{":80", ":80", true},
		{":80", "127.0.0.1:80", true},
		{"127.0.0.1:080", "0.0.0.0:80", true},
		{"[::]:80", "[::1]:80", true},
		{"127.0.0.1:80", "127.0.0.2:80", false},
		{":80", ":81", false},
		{":0", ":0", false},
	} {
		if got := collide(v.a, v.b); got != v.want {
			t.Errorf("%s and %s: got %v, want %v", v.a, v.b, got, v.want)
		}
	}
}

// FuzzLoad holds that no file makes Load panic, that problems are in order and
// point into the file, and that what loads keeps the rules that the gateway
// builds on, and loads again to the same.
func FuzzLoad(f *testing.F) {
	for _, pattern := range []string{"testdata/good/*.yaml", "testdata/bad/*.yaml", "../examples/*/ropeline.yaml"} {
		for file := range corpus(f, pattern) {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	environ := []string{"A=1", "KEY=0123456789abcdef0123456789abcdef", "ID=5", "NAME=no", "SHOP_HOST=h", "CAPACITY=1"}
	f.Fuzz(func(t *testing.T, data []byte) {
		// Files named in the data are the machine's own: a fuzzer must not
		// come to depend on them.
		if bytes.Contains(data, []byte("file")) {
			return
		}
		c, err := load("f", data, environ)
		if err != nil {
			problems := err.(Problems)
			if len(problems) == 0 {
				t.Fatal("an error without a problem")
			}
			lines := bytes.Count(data, []byte("\n")) + bytes.Count(data, []byte("\r")) + bytes.Count(data, []byte("\u0085")) +
				bytes.Count(data, []byte("\u2028")) + bytes.Count(data, []byte("\u2029")) + 2
			for i, p := range problems {
				if p.Line < 1 || p.Column < 1 || p.Line > lines || p.What == "" || strings.ContainsAny(p.String(), "\n\r") {
					t.Fatalf("problem %q", p)
				}
				if i > 0 && p.Line < problems[i-1].Line {
					t.Fatalf("out of order: %v", problems)
				}
			}
			return
		}
		upstreams, ids := map[string]bool{}, map[int64]bool{}
		for _, u := range c.Upstreams {
			if upstreams[u.Name] || len(u.Servers) != 1 || u.Servers[0].URL.Host == "" {
				t.Fatalf("upstream %+v", u)
			}
			upstreams[u.Name] = true
		}
		for _, a := range c.Activities {
			if ids[a.ID] || a.ID < 1 || a.Name == "" || a.Tenant == "" || a.Capacity < 0 || a.Session.Idle > a.Session.Max ||
				a.Rate != (Rate{}) && (a.Rate.Count < 1 || a.Burst < 1 || a.Burst > 400_000) || a.Mode == "" {
				t.Fatalf("activity %+v", a)
			}
			ids[a.ID] = true
		}
		for _, r := range c.Routes {
			if !upstreams[r.Upstream] || r.Activity.ID != 0 && !ids[r.Activity.ID] && !c.Database.Configured() ||
				r.Activity.ID != 0 && r.Activity.SKU != "" || (r.Activity.Tenant == "") != (r.Activity.SKU == "") || !strings.HasPrefix(r.Path, "/") || r.Host == "" {
				t.Fatalf("route %+v", r)
			}
		}
		if len(c.Routes) == 0 || c.Listen.HTTP == "" || c.Prefix == "/" || c.Poll.Min > c.Poll.Max {
			t.Fatalf("config %+v", c)
		}
		again, err := load("f", data, environ)
		if err != nil || !reflect.DeepEqual(c, again) {
			t.Fatalf("a second load differs: %v", err)
		}
	})
}
