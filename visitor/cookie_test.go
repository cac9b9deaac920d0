package visitor

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/ropeline/ropeline/admission"
)

func TestVisit_Tokens(t *testing.T) {
	long := strings.Repeat("x", maxToken+1)
	for _, c := range []struct {
		story            string
		lines            []string
		queue, admission []string
	}{
		{"none", []string{"Cookie: a=b"}, nil, nil},
		{"one of each", []string{"Cookie: a=b; ropeline-queue-123=q; ropeline-admission-123=s"}, []string{"q"}, []string{"s"}},
		{"prefixed first", []string{"Cookie: ropeline-queue-123=plain; __Host-ropeline-queue-123=host"}, []string{"host", "plain"}, nil},
		{"of another activity", []string{"Cookie: ropeline-queue-12=a; ropeline-queue-1234=b; ropeline-queue-0123=c; ropeline-queue-+123=d"}, nil, nil},
		{"on two lines", []string{"Cookie: ropeline-queue-123=a", "Cookie: ropeline-queue-123=b"}, []string{"a", "b"}, nil},
		{"the same twice", []string{"Cookie: ropeline-queue-123=a; ropeline-queue-123=a"}, []string{"a"}, nil},
		{"quoted", []string{`Cookie: ropeline-queue-123="a"`}, []string{"a"}, nil},
		{"empty", []string{"Cookie: ropeline-queue-123=; ropeline-queue-123"}, nil, nil},
		{"too long", []string{"Cookie: ropeline-queue-123=" + long + "; ropeline-queue-123=a"}, []string{"a"}, nil},
		{"too many", []string{"Cookie: " + strings.Repeat("ropeline-queue-123=", 1) + "a; ropeline-queue-123=b; ropeline-queue-123=c; ropeline-queue-123=d; ropeline-queue-123=e"}, []string{"a", "b", "c", "d"}, nil},
		{"look-alike name", []string{"Cookie: \u2000__Host-ropeline-queue-123=a; xropeline-queue-123=b; Ropeline-queue-123=c"}, nil, nil},
		{"bearer", []string{"Authorization: bearer t"}, []string{"t"}, []string{"t"}},
		{"bearer of the shop", []string{"Authorization: Bearer t", "Cookie: ropeline-admission-123=s"}, nil, []string{"s"}},
		{"other authorization", []string{"Authorization: Basic dTpw"}, nil, nil},
	} {
		t.Run(c.story, func(t *testing.T) {
			r := from("203.0.113.7:1", c.lines...)
			v := Proxies{}.Read(r)
			got := v.Visit(r, 123)
			if len(got.PassTokens) != 0 {
				t.Errorf("got passes %q", got.PassTokens)
			}
			if !slices.Equal(got.QueueTokens, c.queue) || !slices.Equal(got.AdmissionTokens, c.admission) {
				t.Errorf("got %q and %q, want %q and %q", got.QueueTokens, got.AdmissionTokens, c.queue, c.admission)
			}
			if got.Network != v.Client {
				t.Errorf("network is %s, want %s", got.Network, v.Client)
			}
		})
	}
}

func TestVisit_PassTokens(t *testing.T) {
	r := from("203.0.113.7:1", "Cookie: ropeline-pass-123=plain; __Host-ropeline-pass-123=host; ropeline-pass-12=other; ropeline-queue-123=q")
	v := Proxies{}.Read(r)
	got := v.Visit(r, 123)
	if want := []string{"host", "plain"}; !slices.Equal(got.PassTokens, want) || len(got.QueueTokens) != 1 {
		t.Errorf("got passes %q and places %q, want %q", got.PassTokens, got.QueueTokens, want)
	}
}

func TestVisit_Work(t *testing.T) {
	for story, c := range map[string]struct {
		lines []string
		want  string
	}{
		"none":                  {[]string{"Cookie: ropeline-work-12=other; ropeline-work-=no"}, ""},
		"a cookie":              {[]string{"Cookie: a=b; ropeline-work-123=c.1"}, "c.1"},
		"prefixed first":        {[]string{"Cookie: ropeline-work-123=c.1; __Host-ropeline-work-123=c.2"}, "c.2"},
		"a header":              {[]string{"Ropeline-Work: c.3"}, "c.3"},
		"a cookie and a header": {[]string{"Ropeline-Work: c.3", "Cookie: ropeline-work-123=c.1"}, "c.1"},
	} {
		r := from("203.0.113.7:1", c.lines...)
		v := Proxies{}.Read(r)
		if got := v.Visit(r, 123); got.Work != c.want || len(got.QueueTokens) != 0 {
			t.Errorf("%s: got %q, want %q", story, got.Work, c.want)
		}
	}
}

func TestVisit_CostsAnAdmittedVisitorNothing(t *testing.T) {
	r := from("10.0.0.1:1", "Cookie: session=abcdef; theme=dark; ropeline-admission-123=token; cart=1")
	r.Header["X-Request-Id"] = []string{"abc-123"} // one of our own would have to be made
	proxies := trusted(t, "10.0.0.0/8")
	var v Visitor
	got := testing.AllocsPerRun(100, func() {
		v = proxies.Read(r)
		v.Visit(r, 123)
	})
	if got != 0 {
		t.Errorf("reading a visit allocates %v times, want 0", got)
	}
}

func TestTooMany_CountsOverLines(t *testing.T) {
	h := http.Header{"Cookie": {strings.Repeat("a=b; ", 600) + "a=b"}}
	if TooMany(h) {
		t.Error("601 cookies are too many, want not")
	}
	h.Add("Cookie", strings.Repeat("a=b; ", 600)+"a=b")
	if !TooMany(h) {
		t.Error("1202 cookies on two lines are not too many, want so")
	}
}

func TestKeep_Cookies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := func(d time.Duration) admission.Ticket {
			return admission.Ticket{Token: "tok", Expires: time.Now().Add(d)}
		}
		for _, c := range []struct {
			story   string
			verdict admission.Verdict
			secure  bool
			want    []string
		}{
			{"nothing to keep", admission.Verdict{}, true, nil},
			{"place", admission.Verdict{Queue: in(time.Hour)}, false,
				[]string{"ropeline-queue-7=tok; Path=/; Max-Age=90000; HttpOnly; SameSite=Lax"}},
			{"place over HTTPS", admission.Verdict{Queue: in(time.Hour)}, true,
				[]string{"__Host-ropeline-queue-7=tok; Path=/; Max-Age=90000; HttpOnly; SameSite=Lax; Secure"}},
			{"a clock far off keeps it a day", admission.Verdict{Admission: in(-time.Hour)}, false,
				[]string{"ropeline-admission-7=tok; Path=/; Max-Age=86400; HttpOnly; SameSite=Lax"}},
			{"entered", admission.Verdict{Admission: in(0), DropQueue: true}, true, []string{
				"__Host-ropeline-queue-7=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax; Secure",
				"ropeline-queue-7=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax",
				"__Host-ropeline-admission-7=tok; Path=/; Max-Age=86400; HttpOnly; SameSite=Lax; Secure"}},
			{"a pass", admission.Verdict{HeldPass: in(time.Hour)}, true,
				[]string{"__Host-ropeline-pass-7=tok; Path=/; Max-Age=90000; HttpOnly; SameSite=Lax; Secure"}},
			{"a pass that has done its work", admission.Verdict{DropPass: true}, false,
				[]string{"ropeline-pass-7=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax"}},
			{"a new place outweighs dropping the old", admission.Verdict{Queue: in(time.Hour), DropQueue: true}, false,
				[]string{"ropeline-queue-7=tok; Path=/; Max-Age=90000; HttpOnly; SameSite=Lax"}},
		} {
			h := http.Header{}
			kept := Keep(h, 7, c.verdict, c.secure)
			if got := h["Set-Cookie"]; !slices.Equal(got, c.want) {
				t.Errorf("%s: got %q, want %q", c.story, got, c.want)
			}
			if want := len(c.want) > 0; kept != want {
				t.Errorf("%s: Keep returns %v, want %v", c.story, kept, want)
			}
		}
	})
}

func TestStrip_Cookies(t *testing.T) {
	for _, c := range []struct{ story, line, want string }{
		{"foreign only", `a=b;  c = "d" ;e`, `a=b;  c = "d" ;e`},
		{"first", "ropeline-queue-1=x; a=b", "a=b"},
		{"middle", "a=b; ropeline-queue-1=x;c=d", "a=b;c=d"},
		{"last", "a=b; __Host-ropeline-admission-99=x", "a=b"},
		{"only ours", "ropeline-queue-1=x; ropeline-admission-2=y", ""},
		{"a pass", "__Host-ropeline-pass-1=x; a=b", "a=b"},
		{"work", "a=b; ropeline-work-1=c.1", "a=b"},
		{"spaces around", "a=b;   ropeline-queue-1 = x ;\tc=d", "a=b;\tc=d"},
		{"without a value", "ropeline-queue-1; a=b", "a=b"},
		{"no number", "ropeline-queue-=x; ropeline-queue-1a=y", "ropeline-queue-=x; ropeline-queue-1a=y"},
		{"in a value", "a=ropeline-queue-1", "a=ropeline-queue-1"},
		{"longer name", "xropeline-queue-1=x; ropeline-queue-1x=y", "xropeline-queue-1=x; ropeline-queue-1x=y"},
	} {
		t.Run(c.story, func(t *testing.T) {
			h := http.Header{"Cookie": {c.line}}
			Strip(h)
			if got := h.Get("Cookie"); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if _, there := h["Cookie"]; there != (c.want != "") {
				t.Errorf("an empty Cookie header stays")
			}
		})
	}
}

func TestStrip_OwnHeadersInAnySpelling(t *testing.T) {
	h := http.Header{
		"Ropeline-Number": {"1"}, "Ropeline-Anything": {"1"}, "ropeline-number": {"1"}, "Ropeline_number": {"1"},
		"ROPELINE_Number": {"1"}, "Ropeline.number": {"1"}, "Ropelines": {"kept"}, "X-Ropeline": {"kept"}, "Ropeline": {"kept"},
	}
	Strip(h)
	var left []string
	for name := range h {
		left = append(left, name)
	}
	slices.Sort(left)
	if want := []string{"Ropeline", "Ropelines", "X-Ropeline"}; !slices.Equal(left, want) {
		t.Errorf("left are %q, want %q", left, want)
	}
}

func TestStrip_KeepsForeignCookiesAndIsIdempotent(t *testing.T) {
	foreign := rapid.SampledFrom([]string{"a=b", "session=x y", `q="1,2"`, "empty=", "lone", "ropeline=1", "ropeline-queue-=1", "ropeline-language=de", "ropeline-work-x=1", "__Host-id=2", "=v", "a=ropeline-queue-1"})
	own := rapid.SampledFrom([]string{"ropeline-queue-1=t", "__Host-ropeline-queue-1=t", "ropeline-admission-20=", "ropeline-pass-2=t", "__Host-ropeline-work-7=c.1", "__Host-ropeline-admission-3", " ropeline-queue-4 = t "})
	rapid.Check(t, func(t *rapid.T) {
		var want []string
		var lines []string
		for range rapid.IntRange(0, 3).Draw(t, "lines") {
			var pairs []string
			for range rapid.IntRange(1, 6).Draw(t, "pairs") {
				if rapid.Bool().Draw(t, "own") {
					pairs = append(pairs, own.Draw(t, "pair"))
					continue
				}
				pair := foreign.Draw(t, "pair")
				pairs, want = append(pairs, pair), append(want, pair)
			}
			lines = append(lines, strings.Join(pairs, rapid.SampledFrom([]string{";", "; "}).Draw(t, "separator")))
		}
		h := http.Header{"Cookie": lines}
		Strip(h)
		var got []string
		for _, line := range h["Cookie"] {
			for pair := range strings.SplitSeq(line, ";") {
				got = append(got, strings.TrimPrefix(pair, " "))
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("left are %q, want %q", got, want)
		}
		once := slices.Clone(h["Cookie"])
		Strip(h)
		if !slices.Equal(h["Cookie"], once) {
			t.Fatalf("stripped twice: %q, once: %q", h["Cookie"], once)
		}
	})
}

func TestFrom_FindsTheGatewaysVisitor(t *testing.T) {
	r := from("203.0.113.7:1")
	v := &Visitor{Secure: true}
	if got := From(r.WithContext(NewContext(t.Context(), v))); got != v {
		t.Errorf("got %p, want the visitor that was put there, %p", got, v)
	}
	if got := From(r).Client.String(); got != "203.0.113.7" {
		t.Errorf("without one, the client is %s, want that of the connection", got)
	}
}
