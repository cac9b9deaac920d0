package waitpage

import (
	"encoding/json"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"golang.org/x/text/language"

	"github.com/ropeline/ropeline/admission"
	"github.com/ropeline/ropeline/web"
)

// The numbers that tell the plural rules of the languages below apart.
var counted = []int64{0, 1, 2, 3, 4, 5, 10, 11, 12, 14, 20, 21, 22, 25, 100, 101, 102, 103, 111, 1000000, 1000001, 2000000}

// cldr is what CLDR says of each language, as browsers have it: the form of
// each counted number (zero 0, one 1, two 2, few f, many m, other -), of ½, 1½
// and 2½, and how three numbers are written.
var cldr = map[string]struct{ forms, halves, numbers string }{
	"en":      {"-1--------------------", "---", "1,234|12,345|1,234,567"},
	"zh-Hant": {"----------------------", "---", "1,234|12,345|1,234,567"},
	"zh-Hans": {"----------------------", "---", "1,234|12,345|1,234,567"},
	"ja":      {"----------------------", "---", "1,234|12,345|1,234,567"},
	"ko":      {"----------------------", "---", "1,234|12,345|1,234,567"},
	"de":      {"-1--------------------", "---", "1.234|12.345|1.234.567"},
	"fr":      {"11-----------------m-m", "11-", "1\u202f234|12\u202f345|1\u202f234\u202f567"},
	"es":      {"-1-----------------m-m", "---", "1234|12.345|1.234.567"},
	"pt":      {"11-----------------m-m", "11-", "1.234|12.345|1.234.567"},
	"it":      {"-1-----------------m-m", "---", "1234|12.345|1.234.567"},
	"nl":      {"-1--------------------", "---", "1.234|12.345|1.234.567"},
	"pl":      {"m1fffmmmmmmmfmmmffmmmm", "---", "1234|12\u00a0345|1\u00a0234\u00a0567"},
	"tr":      {"-1--------------------", "---", "1.234|12.345|1.234.567"},
	"vi":      {"----------------------", "---", "1.234|12.345|1.234.567"},
	"th":      {"----------------------", "---", "1,234|12,345|1,234,567"},
	"id":      {"----------------------", "---", "1.234|12.345|1.234.567"},
	"ar":      {"012ffffmmmmmmm---fm---", "---", "1,234|12,345|1,234,567"},
	"he":      {"-12-------------------", "1--", "1,234|12,345|1,234,567"},
}

func TestLanguages_AreThoseOfThePromise(t *testing.T) {
	var got []string
	for _, c := range builtIn().offered {
		got = append(got, c.lang)
		if _, known := cldr[c.lang]; !known {
			t.Errorf("there is a language %s that no test knows", c.lang)
		}
		if rtl := c.lang == "ar" || c.lang == "he"; rtl != (c.Direction == "rtl") {
			t.Errorf("%s is written %s", c.lang, c.Direction)
		}
	}
	if len(got) != len(cldr) || got[0] != "en" {
		t.Errorf("got %v, want English and then the others of %d", got, len(cldr))
	}
}

func TestLanguages_CountAsCLDRDoes(t *testing.T) {
	names := [...]byte{'-', '0', '1', '2', 'f', 'm'} // by plural.Form
	for lang, want := range cldr {
		tag := language.MustParse(lang)
		var forms, halves []byte
		for _, n := range counted {
			forms = append(forms, names[pluralOf(tag, n, false)])
		}
		for n := range int64(3) {
			halves = append(halves, names[pluralOf(tag, n, true)])
		}
		if string(forms) != want.forms || string(halves) != want.halves {
			t.Errorf("%s: got  %s %s\nwant %s %s", lang, forms, halves, want.forms, want.halves)
		}
	}
}

func TestLanguages_GroupNumbersAsCLDRDoes(t *testing.T) {
	for lang, want := range cldr {
		c := builtIn().named(lang)
		if got := strings.Join([]string{c.number(1234), c.number(12345), c.number(1234567)}, "|"); got != want.numbers {
			t.Errorf("%s: got %q, want %q", lang, got, want.numbers)
		}
	}
}

// sentencesOf are all texts of a catalog, by key.
func sentencesOf(c *catalog) map[string]string {
	all := map[string]string{}
	value := reflect.ValueOf(c).Elem()
	for i := range value.NumField() {
		key := value.Type().Field(i).Tag.Get("json")
		if key == "" {
			continue // not of the file
		}
		switch field := value.Field(i).Interface().(type) {
		case string:
			all[key] = field
		case plurals:
			for form, sentence := range field {
				if sentence != "" {
					all[key+"."+formNames[form]] = sentence
				}
			}
		}
	}
	return all
}

func TestLanguages_NothingIsLeftInEnglish(t *testing.T) {
	// The same in both languages, and rightly so.
	same := map[string]bool{"de ticket": true, "fr ticket": true, "fr minutes.one": true, "fr minutes.other": true, "pt minutes.one": true}
	// Words that no other of these languages has on its own.
	foreign := regexp.MustCompile(`(?i)(^|[^\pL])(the|you|your|it|this|people|line is|and|when|wait|will|right now|turn)([^\pL]|$)`)
	settings := []string{"direction", "group", "range", "half", "instant", "clock_days"}
	for _, c := range builtIn().offered[1:] {
		for key, sentence := range sentencesOf(c) {
			if slices.Contains(settings, key) {
				continue
			}
			base, _, _ := strings.Cut(key, ".")
			for like, in := range sentencesOf(english) {
				if in == sentence && strings.HasPrefix(like, base) && !same[c.lang+" "+key] {
					t.Errorf("%s: %s is as in English: %q", c.lang, key, sentence)
				}
			}
			if word := foreign.FindString(sentence); word != "" {
				t.Errorf("%s: %s has the English word %q: %q", c.lang, key, word, sentence)
			}
			if latin := regexp.MustCompile(`[A-Za-z]{2,}`); !unicode.Is(unicode.Latin, []rune(c.Language)[0]) {
				for _, word := range latin.FindAllString(regexp.MustCompile(`\{\w+\}`).ReplaceAllString(sentence, ""), -1) {
					if word != "Cookie" && word != "JavaScript" {
						t.Errorf("%s: %s has the word %q: %q", c.lang, key, word, sentence)
					}
				}
			}
		}
	}
}

func TestLanguages_AreChosenByWhatTheVisitorReads(t *testing.T) {
	some, err := builtIn().Offer([]string{"de", "fr", "pt", "zh-Hant"})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		from         *Languages
		line, cookie string
		want         string
	}{
		{builtIn(), "", "", "en"},
		{builtIn(), "de", "", "de"},
		{builtIn(), "de-AT,de;q=0.9,en;q=0.8", "", "de"},
		{builtIn(), "sw,en;q=0.5", "", "en"},
		{builtIn(), "sw", "", "en"},
		{builtIn(), "en;q=0.5,ja", "", "ja"},
		{builtIn(), "ja;q=0,ko;q=0.1", "", "ko"},
		{builtIn(), "zh-TW", "", "zh-Hant"},
		{builtIn(), "zh-HK", "", "zh-Hant"},
		{builtIn(), "zh", "", "zh-Hans"},
		{builtIn(), "zh-CN", "", "zh-Hans"},
		{builtIn(), "iw", "", "he"},
		{builtIn(), "in", "", "id"},
		{builtIn(), "pt-PT", "", "pt"},
		{builtIn(), "*", "", "en"},
		{builtIn(), "!!,,;q", "", "en"},
		{builtIn(), strings.Repeat("de,", 5000), "", "en"},
		{builtIn(), "de", "th", "th"},
		{builtIn(), "de", "TH", "th"},
		{builtIn(), "de", "xx", "de"},
		{some, "ja", "", "de"}, // the first of the list, for who reads none of it
		{some, "en,zh-TW;q=0.5", "", "zh-Hant"},
		{some, "fr", "ja", "fr"}, // chosen where there were more
	} {
		r := httptest.NewRequest("GET", "/", nil)
		if tt.line != "" {
			r.Header.Set("Accept-Language", tt.line)
		}
		if tt.cookie != "" {
			r.Header.Set("Cookie", "a=b; ropeline-language="+tt.cookie)
		}
		if got := tt.from.offered[tt.from.choose(r)].lang; got != tt.want {
			t.Errorf("Accept-Language %.40q, cookie %q: got %s, want %s", tt.line, tt.cookie, got, tt.want)
		}
	}
	if _, err := builtIn().Offer([]string{"de", "xx"}); err == nil || !strings.Contains(err.Error(), `"xx"; there are en, ar, de`) {
		t.Errorf("a language that is not there: got %v", err)
	}
}

// Half hours and ranges are where languages differ most.
func TestWait_InOtherLanguages(t *testing.T) {
	for _, tt := range []struct {
		lang      string
		low, high time.Duration
		want      string
	}{
		{"de", 95 * time.Minute, 150 * time.Minute, "etwa 1,5–2,5 Stunden"},
		{"fr", 4 * time.Minute, 6 * time.Minute, "environ 4 à 6 minutes"},
		{"pl", time.Minute, 2 * time.Minute, "około 1–2 minut"},
		{"pl", 0, 22 * time.Minute, "do 25 minut"},
		{"ar", 0, 2 * time.Minute, "حتى دقيقتين"},
		{"ar", time.Minute, 2 * time.Minute, "حوالي 1 إلى 2 دقيقة"},
		{"ar", 2 * time.Minute, 3 * time.Minute, "حوالي 2 إلى 3 دقائق"},
		{"he", 50 * time.Minute, 2 * time.Hour, "בערך 0.5 עד 2 שעות"},
		{"ja", 4 * time.Minute, 6 * time.Minute, "約4～6分"},
		{"zh-Hant", 4 * time.Minute, 6 * time.Minute, "約 4 至 6 分鐘"},
	} {
		if got := builtIn().named(tt.lang).wait(admission.Wait{Known: true, Low: tt.low, High: tt.high}); got != tt.want {
			t.Errorf("%s: wait of %s to %s = %q, want %q", tt.lang, tt.low, tt.high, got, tt.want)
		}
	}
}

// folder makes a directory of catalogs.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// in is the English catalog under another name, with some keys changed.
func in(t *testing.T, changes map[string]any) string {
	t.Helper()
	data, err := web.Words.ReadFile("words/en.json")
	if err != nil {
		t.Fatal(err)
	}
	var keys map[string]any
	if err := json.Unmarshal(data, &keys); err != nil {
		t.Fatal(err)
	}
	for key, value := range changes {
		if keys[key] = value; value == nil {
			delete(keys, key)
		}
	}
	data, err = json.Marshal(keys)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestOpenLanguages_AddsAndChanges(t *testing.T) {
	l, err := OpenLanguages(folder(t, map[string]string{
		"sv.json":   in(t, map[string]any{"language": "Svenska", "waiting_anywhere": "Du står i kö"}),
		"de.json":   `{"ended_detail": "Danke und bis bald."}`,
		"notes.txt": "not a catalog",
	}))
	if err != nil {
		t.Fatal(err)
	}
	if got := l.named("sv").WaitingAnywhere; got != "Du står i kö" {
		t.Errorf("the new language says %q", got)
	}
	if got, was := l.named("de"), builtIn().named("de"); got.EndedDetail != "Danke und bis bald." || got.Ended != was.Ended || was.EndedDetail == got.EndedDetail {
		t.Errorf("the changed language says %q and %q", got.EndedDetail, got.Ended)
	}
	if got := l.offered[0].lang; got != "en" {
		t.Errorf("the first language is %s, want en", got)
	}
}

func TestOpenLanguages_RefusesWhatIsWrong(t *testing.T) {
	russian := func(changes map[string]any) map[string]any {
		forms := map[string]string{"one": "{n}", "few": "{n}", "many": "{n}", "other": "{n}"}
		all := map[string]any{"ahead": forms, "behind": forms, "left": forms, "minutes": forms, "hours": forms}
		for key, value := range changes {
			all[key] = value
		}
		return all
	}
	if _, err := OpenLanguages(folder(t, map[string]string{"ru.json": in(t, russian(nil))})); err != nil {
		t.Fatalf("a whole language is refused: %v", err)
	}
	for name, tt := range map[string]struct{ file, text, want string }{
		"missing plural": {"ru.json", in(t, russian(map[string]any{"ahead": map[string]string{"one": "{n}", "other": "{n}"}})), "ru.json: ahead.few: is missing"},
		"plural too many": {"sv.json", in(t, map[string]any{"ahead": map[string]string{"one": "1", "few": "{n}", "other": "{n}"}}),
			"sv.json: ahead.few: sv has no such form"},
		"no plural": {"sv.json", in(t, map[string]any{"ahead": map[string]string{"some": "1"}}), `"some" is no plural form`},
		"one for many numbers": {"ru.json", in(t, russian(map[string]any{"left": map[string]string{"one": "1", "few": "{n}", "many": "{n}", "other": "{n}"}})),
			"ru.json: left.one: has the placeholders [], want [{n}]"},
		"missing key":   {"sv.json", in(t, map[string]any{"ready": nil}), "sv.json: ready: is missing"},
		"empty key":     {"sv.json", in(t, map[string]any{"ready": " "}), "sv.json: ready: is missing"},
		"unknown key":   {"de.json", `{"redy": "x"}`, `unknown field "redy"`},
		"placeholder":   {"de.json", `{"ended": "{nmae} ist vorbei"}`, "de.json: ended: has the placeholders [{nmae}], want [{name}]"},
		"direction":     {"de.json", `{"direction": "up"}`, "direction"},
		"group":         {"de.json", `{"group": ""}`, "group"},
		"grouping":      {"de.json", `{"group_from": 2}`, "group_from"},
		"instant":       {"de.json", `{"instant": "02.01.2006"}`, "instant"},
		"no JSON":       {"de.json", `{`, "de.json: is not a catalog"},
		"more than one": {"de.json", `{} {}`, "something follows"},
		"name":          {"german.json", `{}`, `"german" is not a language tag`},
		"spelling":      {"ZH-hant.json", `{}`, `"ZH-hant" is not a language tag in its usual spelling`},
	} {
		if _, err := OpenLanguages(folder(t, map[string]string{tt.file: tt.text})); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q in it", name, err, tt.want)
		}
	}
	if _, err := OpenLanguages(filepath.Join(t.TempDir(), "gone")); err == nil {
		t.Error("a directory that is not there is taken for an empty one")
	}
}

func TestNarrow_TheWaitRisesOnlyWithAReason(t *testing.T) {
	band := func(low, high int) admission.Status {
		return admission.Status{Position: 50, Wait: admission.Wait{Known: true, Low: time.Duration(low) * time.Second, High: time.Duration(high) * time.Second}}
	}
	for _, tt := range []struct {
		name   string
		status admission.Status
		shown  string
		high   time.Duration
		reason string
	}{
		{"nothing shown", band(200, 300), "", 300, ""},
		{"sooner", band(200, 300), "400.60.", 300, ""},
		{"as long", band(200, 300), "300.60.", 300, ""},
		{"by chance", band(200, 300), "260.50.", 260, ""},
		{"slower", band(200, 300), "240.50.", 300, english.LongerSlow},
		{"paused", band(200, 300), "240.50.paused", 300, english.LongerPaused},
		{"away", band(200, 300), "240.50.away", 300, english.LongerAway},
		{"returned", band(200, 300), "240.49.", 300, english.LongerReturned},
		{"paused and returned", band(200, 300), "240.49.paused", 300, english.LongerPaused},
		{"over", band(200, 300), "0.50.", 300, ""},
		{"junk", band(200, 300), "-1.50.", 300, ""},
		{"junk behind", band(200, 300), "10.x.", 300, ""},
		{"beyond", band(200, 300), "99999999999.1.", 300, ""},
		{"unknown", admission.Status{Position: 50}, "240.50.", 0, ""},
	} {
		got, reason := english.narrow(tt.status, readSeen(tt.shown))
		if got.High != tt.high*time.Second || reason != tt.reason || got.Low > got.High {
			t.Errorf("%s: got %v to %v %q, want up to %ds %q", tt.name, got.Low, got.High, reason, tt.high, tt.reason)
		}
	}
}
