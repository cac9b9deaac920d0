package waitpage

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/text/language"
)

// A catalog holds every sentence that a visitor may read, in one language, as
// web/words/<tag>.json has them. Sentences name what is filled in: {name} an
// activity, {n} a number, {time} a span of time, {clock} one as digits,
// {source} where a public value comes from.
type catalog struct {
	tag    language.Tag
	lang   string         // tag as it is written, for lang, words= and the cookie
	layout func() *layout // of the page; made when first needed

	Language  string `json:"language"`  // its own name
	Direction string `json:"direction"` // ltr or rtl

	Group     string `json:"group"`      // between thousands
	GroupFrom int    `json:"group_from"` // digits of the shortest number that is grouped
	Range     string `json:"range"`      // {low} and {high} numbers
	Half      string `json:"half"`       // what a half is after a number: ½, or .5 as it is written there
	Instant   string `json:"instant"`    // layout of package time for a point in time, where the browser shows none
	ClockDays string `json:"clock_days"` // {d} days and {h} hours

	Nameless string `json:"nameless"` // stands for an activity without a name

	WaitingTitle    string  `json:"waiting_title"` // where the position is not known; else it is the title
	WaitingAt       string  `json:"waiting_at"`
	WaitingAnywhere string  `json:"waiting_anywhere"`
	Ahead           plurals `json:"ahead"`
	Behind          plurals `json:"behind"`
	Next            string  `json:"next"`
	Left            plurals `json:"left"`
	TooFew          string  `json:"too_few"`
	WaitingNote     string  `json:"waiting_note"`
	LapsedNote      string  `json:"lapsed_note"`
	Paused          string  `json:"paused"`
	PausedNote      string  `json:"paused_note"`

	PassHeld    string `json:"pass_held"`
	PassSpent   string `json:"pass_spent"`
	PassExpired string `json:"pass_expired"`
	PassUnknown string `json:"pass_unknown"`

	WaitLabel      string  `json:"wait_label"`
	WaitUnknown    string  `json:"wait_unknown"`
	WaitMinute     string  `json:"wait_minute"`
	WaitUpTo       string  `json:"wait_up_to"`
	WaitAbout      string  `json:"wait_about"`
	WaitDays       string  `json:"wait_days"`
	Minutes        plurals `json:"minutes"` // in the case that wait_up_to and wait_about ask for
	Hours          plurals `json:"hours"`   // likewise
	LongerPaused   string  `json:"longer_paused"`
	LongerAway     string  `json:"longer_away"`
	LongerReturned string  `json:"longer_returned"`
	LongerSlow     string  `json:"longer_slow"`

	BeforeTitle  string `json:"before_title"`
	BeforeClock  string `json:"before_clock"`
	BeforeOpen   string `json:"before_open"`
	BeforePlace  string `json:"before_place"`
	BeforeTicket string `json:"before_ticket"`
	BeforeDraw   string `json:"before_draw"`
	BeforeLabel  string `json:"before_label"`
	BeforeNote   string `json:"before_note"`

	DrawingTitle  string `json:"drawing_title"`
	Drawing       string `json:"drawing"`
	DrawingDetail string `json:"drawing_detail"`
	DrawingNote   string `json:"drawing_note"`

	ReadyTitle  string `json:"ready_title"`
	Ready       string `json:"ready"`
	ReadyDetail string `json:"ready_detail"`
	ReadyNote   string `json:"ready_note"`

	EndedTitle  string `json:"ended_title"`
	Ended       string `json:"ended"`
	EndedDetail string `json:"ended_detail"`

	SoldTitle  string `json:"sold_title"`
	Sold       string `json:"sold"`
	SoldDetail string `json:"sold_detail"`

	FullTitle  string `json:"full_title"`
	Full       string `json:"full"`
	FullDetail string `json:"full_detail"`

	ClosedTitle  string `json:"closed_title"`
	Closed       string `json:"closed"`
	ClosedDetail string `json:"closed_detail"`

	Again string `json:"again"`

	MomentTitle  string `json:"moment_title"`
	Moment       string `json:"moment"`
	MomentDetail string `json:"moment_detail"`
	MomentAway   string `json:"moment_away"`

	Work        string `json:"work"`         // beneath moment
	WorkStill   string `json:"work_still"`   // where it takes long
	WorkScript  string `json:"work_script"`  // to whose browser runs no script
	WorkCookies string `json:"work_cookies"` // to whose browser keeps no cookie

	AwayTitle  string `json:"away_title"`
	Away       string `json:"away"`
	AwayDetail string `json:"away_detail"`

	// What the page carries whatever the status is: some of it is shown while
	// the gateway cannot be asked.
	Live            string `json:"live"`
	NoAnswer        string `json:"no_answer"`
	Offline         string `json:"offline"`
	Lost            string `json:"lost"`
	LostWhy         string `json:"lost_why"`
	LostJoin        string `json:"lost_join"`
	Elsewhere       string `json:"elsewhere"`
	ElsewhereWhy    string `json:"elsewhere_why"`
	ElsewhereEnter  string `json:"elsewhere_enter"`
	Ticket          string `json:"ticket"`
	Leave           string `json:"leave"`
	LeaveSure       string `json:"leave_sure"`
	Tell            string `json:"tell"`
	Told            string `json:"told"`
	Languages       string `json:"languages"`
	LanguagesChoose string `json:"languages_choose"`
	NoScript        string `json:"no_script"`
	Check           string `json:"check"`
	FormKept        string `json:"form_kept"`
	FormLost        string `json:"form_lost"`
	FormSend        string `json:"form_send"`
	FormSkip        string `json:"form_skip"`

	// What the page of a draw carries as well.
	Draw           string `json:"draw"`
	DrawOpen       string `json:"draw_open"`
	DrawRight      string `json:"draw_right"`
	DrawLate       string `json:"draw_late"` // to whom no number was drawn
	DrawWrong      string `json:"draw_wrong"`
	DrawCommitment string `json:"draw_commitment"`
	DrawIndex      string `json:"draw_index"`
	DrawSource     string `json:"draw_source"`
	DrawValue      string `json:"draw_value"`
	DrawPlaces     string `json:"draw_places"`
	DrawSeed       string `json:"draw_seed"`
	DrawNumber     string `json:"draw_number"`

	// What the notice in the shop says.
	SessionEnds string `json:"session_ends"`
	SessionStay string `json:"session_stay"`
	SessionLast string `json:"session_last"`
	SessionOver string `json:"session_over"`
}

// readCatalog reads the catalog of a language. What data leaves out is as in
// base, which may be nil; model has the placeholders that each sentence must
// have, and is nil for the model itself. The error names every key that is
// wrong.
func readCatalog(lang string, data []byte, base, model *catalog) (*catalog, error) {
	tag, err := language.Parse(lang)
	if err != nil || tag.String() != lang {
		return nil, fmt.Errorf("%q is not a language tag in its usual spelling, like en, pt-BR or zh-Hant", lang)
	}
	c := &catalog{}
	if base != nil {
		*c = *base
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(c); err != nil {
		return nil, fmt.Errorf("is not a catalog: %w", err)
	}
	if decoder.More() {
		return nil, errors.New("is not a catalog: something follows it")
	}
	c.tag, c.lang = tag, lang
	if model == nil {
		model = c
	}
	if err := c.check(model); err != nil {
		return nil, err
	}
	c.layout = sync.OnceValue(func() *layout { return newLayout(c) })
	return c, nil
}

// check holds c against the sentences of model.
func (c *catalog) check(model *catalog) error {
	var problems []error
	wrong := func(key, what string, args ...any) {
		problems = append(problems, fmt.Errorf("%s: %s", key, fmt.Sprintf(what, args...)))
	}
	numbers := formsOf(c.tag)
	value, like := reflect.ValueOf(c).Elem(), reflect.ValueOf(model).Elem()
	for i := range value.NumField() {
		key := value.Type().Field(i).Tag.Get("json")
		if key == "" {
			continue
		}
		switch field := value.Field(i).Interface().(type) {
		case plurals:
			want := placeholders(like.Field(i).Interface().(plurals)[0])
			for form, sentence := range field {
				at := key + "." + formNames[form]
				switch got := placeholders(sentence); {
				case numbers[form] == 0 && sentence != "":
					wrong(at, "%s has no such form", c.lang)
				case numbers[form] > 0 && sentence == "":
					wrong(at, "is missing")
				// A form for one number only may spell it out.
				case numbers[form] > 0 && !slices.Equal(got, want) && (numbers[form] > 1 || len(got) > 0):
					wrong(at, "has the placeholders %v, want %v", got, want)
				}
			}
		case string:
			if strings.TrimSpace(field) == "" && key != "group" {
				wrong(key, "is missing")
			} else if got, want := placeholders(field), placeholders(like.Field(i).String()); !slices.Equal(got, want) {
				wrong(key, "has the placeholders %v, want %v", got, want)
			}
		}
	}
	if c.Direction != "ltr" && c.Direction != "rtl" {
		wrong("direction", "%q is neither ltr nor rtl", c.Direction)
	}
	if c.Group == "" || len(c.Group) > 4 {
		wrong("group", "%q is not one character", c.Group)
	}
	if c.GroupFrom < 4 {
		wrong("group_from", "must be at least 4")
	}
	// A layout that drops a part would show the same for two different times.
	at := time.Date(2031, 12, 25, 17, 48, 0, 0, time.UTC)
	if read, err := time.Parse(c.Instant, at.Format(c.Instant)); err != nil || !read.Equal(at) {
		wrong("instant", "%q is not a layout of day, month, year, hour and minute, like 02.01.2006 15:04 UTC", c.Instant)
	}
	return errors.Join(problems...)
}

// placeholders returns what a sentence names in braces, sorted.
func placeholders(sentence string) []string {
	names := []string{}
	for rest := sentence; ; {
		_, after, found := strings.Cut(rest, "{")
		name, behind, closed := strings.Cut(after, "}")
		if !found || !closed {
			break
		}
		names, rest = append(names, "{"+name+"}"), behind
	}
	slices.Sort(names)
	return names
}
