package config

import (
	"fmt"
	"io"
	"math"
	"net/netip"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Secret is a text that prints, marshals and logs as <secret>. The zero Secret
// is empty.
type Secret struct {
	// A pointer, so that a Secret in someone's unexported field, where fmt
	// calls no methods, shows an address.
	text *string
}

// NewSecret makes a Secret of text.
func NewSecret(text string) Secret {
	if text == "" {
		return Secret{}
	}
	return Secret{&text}
}

// Reveal gives the text.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

const concealed = "<secret>"

// String gives <secret>.
func (s Secret) String() string { return concealed }

// Format writes <secret> for every verb.
func (s Secret) Format(f fmt.State, _ rune) { io.WriteString(f, concealed) }

// MarshalText gives <secret>, to JSON, YAML and logs alike.
func (s Secret) MarshalText() ([]byte, error) { return []byte(concealed), nil }

// Rate is a number of events per second, minute or hour. The zero Rate is
// no limit.
type Rate struct {
	Count int64
	Per   time.Duration
}

// PerHour gives the events per hour. It is exact: an hour is a whole number of
// every Per that Load gives.
func (r Rate) PerHour() int64 {
	if r.Per <= 0 {
		return 0
	}
	return r.Count * int64(time.Hour/r.Per)
}

// String gives the rate as it is written in the file, "" for no limit.
func (r Rate) String() string {
	switch {
	case r == Rate{}:
		return ""
	case r.Per == time.Second:
		return strconv.FormatInt(r.Count, 10) + "/s"
	case r.Per == time.Minute:
		return strconv.FormatInt(r.Count, 10) + "/m"
	case r.Per == time.Hour:
		return strconv.FormatInt(r.Count, 10) + "/h"
	}
	return fmt.Sprintf("%d per %v", r.Count, r.Per)
}

// MarshalText is String, to JSON, YAML and logs alike.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads a rate as it is written in the file.
func (r *Rate) UnmarshalText(text []byte) (err error) {
	*r, err = parseRate(scalar{text: string(text)})
	return err
}

// scalar is one value before its type is known.
type scalar struct {
	text string

	// tag is YAML's own idea of the type (!!str, !!int …). Empty for text that
	// came from the environment or a default, and was never YAML.
	tag string

	// quoted is set where the file has quotes around it.
	quoted bool
}

// traps are the words that YAML 1.1 reads as true or false and YAML 1.2 as
// text. Which of the two an editor or a template tool speaks is anyone's guess.
var traps = []string{"y", "n", "yes", "no", "on", "off"}

// The patterns of values. The JSON Schema gives the same to editors.
const (
	integerPattern  = `^-?(0|[1-9][0-9]*)$`
	numberPattern   = `^-?(0|[1-9][0-9]*)(\.[0-9]+)?$`
	percentPattern  = `^(0|[1-9][0-9]?|100)(\.[0-9]+)?%$`
	durationPattern = `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`
	bytesPattern    = `^(0|[1-9][0-9]*)(B|KiB|MiB|GiB)?$`
	ratePattern     = `^([1-9][0-9]*/[smh])?$`
)

var (
	integerText  = regexp.MustCompile(integerPattern)
	numberText   = regexp.MustCompile(numberPattern)
	durationText = regexp.MustCompile(durationPattern)
	bytesText    = regexp.MustCompile(bytesPattern)
	rateText     = regexp.MustCompile(ratePattern)
)

var (
	secretType   = reflect.TypeFor[Secret]()
	durationType = reflect.TypeFor[time.Duration]()
	timeType     = reflect.TypeFor[time.Time]()
	prefixType   = reflect.TypeFor[netip.Prefix]()
	urlType      = reflect.TypeFor[*url.URL]()
	rateType     = reflect.TypeFor[Rate]()
)

// isScalar says whether a value of type t stands in the file as one text.
func isScalar(t reflect.Type) bool {
	switch t {
	case secretType, durationType, timeType, prefixType, urlType, rateType:
		return true
	}
	switch t.Kind() {
	case reflect.String, reflect.Bool, reflect.Int64, reflect.Float64:
		return true
	}
	return false
}

// parse reads s as a value of type t, and checks it against f's enum, form,
// min and max. Its error is a sentence that follows the path of the key.
func (f field) parse(t reflect.Type, s scalar) (any, error) {
	if s.tag == "!!null" {
		return nil, fmt.Errorf("has no value; give one, or leave the key out")
	}
	v, err := f.convert(t, s)
	if err != nil {
		return nil, err
	}
	if err := f.bounds(t, v); err != nil {
		return nil, err
	}
	return v, nil
}

func (f field) convert(t reflect.Type, s scalar) (any, error) {
	if f.enum != nil {
		if !slices.Contains(f.enum, s.text) {
			return nil, fmt.Errorf("%q is none of %s%s", s.text, strings.Join(f.enum, ", "), didYouMean(s.text, f.enum))
		}
		if t.Kind() == reflect.String {
			return s.text, nil
		}
	}
	switch t {
	case secretType:
		if err := asText(s); err != nil {
			return nil, err
		}
		return NewSecret(s.text), nil
	case durationType:
		return f.duration(s)
	case timeType:
		return parseTime(s)
	case prefixType:
		return parsePrefix(s)
	case urlType:
		return parseURL(s)
	case rateType:
		return parseRate(s)
	}
	switch t.Kind() {
	case reflect.String:
		if err := asText(s); err != nil {
			return nil, err
		}
		if problem := f.form.refuse(s.text); problem != "" {
			return nil, fmt.Errorf("%q %s", s.text, problem)
		}
		return s.text, nil
	case reflect.Bool:
		if s.quoted && s.tag != "" || s.text != "true" && s.text != "false" {
			return nil, fmt.Errorf("%q is not a switch; write true or false%s", s.text, withoutQuotes(s))
		}
		return s.text == "true", nil
	case reflect.Int64:
		if f.bytes {
			return parseBytes(s)
		}
		return parseInteger(s)
	case reflect.Float64:
		return parseShare(s)
	}
	panic(fmt.Sprintf("config: key %s has the type %v, which cannot be read", f.name, t))
}

// asText refuses what stands unquoted in the file and is a text to one reader
// of YAML and something else to another.
func asText(s scalar) error {
	if s.tag == "" || s.quoted {
		return nil
	}
	switch s.tag {
	case "!!str":
	case "!!int", "!!float":
		return fmt.Errorf("is a number to YAML; put it in quotes")
	case "!!bool":
		return fmt.Errorf("is true or false to YAML; put it in quotes")
	default:
		return fmt.Errorf("is no text to YAML; put it in quotes")
	}
	if slices.Contains(traps, strings.ToLower(s.text)) {
		return fmt.Errorf("%q is true or false to many readers of YAML; put it in quotes", s.text)
	}
	return nil
}

func withoutQuotes(s scalar) string {
	if s.quoted {
		return ", without quotes"
	}
	return ""
}

func parseInteger(s scalar) (int64, error) {
	if s.quoted && s.tag != "" {
		return 0, fmt.Errorf("%q is a text; write the number without quotes", s.text)
	}
	// 0777, 0x1F and 1_000 are numbers to YAML, and not always the same ones.
	if !integerText.MatchString(s.text) {
		return 0, fmt.Errorf("%q is not a whole number in plain digits", s.text)
	}
	n, err := strconv.ParseInt(s.text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s is too large", s.text)
	}
	return n, nil
}

// parseShare reads a number, or a number of percent.
func parseShare(s scalar) (float64, error) {
	if s.quoted && s.tag != "" {
		return 0, fmt.Errorf("%q is a text; write the number without quotes", s.text)
	}
	number, percent := strings.CutSuffix(s.text, "%")
	if !numberText.MatchString(number) {
		return 0, fmt.Errorf("%q is not a number in plain digits, like 0.02, or a percentage, like 2%%", s.text)
	}
	n, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return 0, fmt.Errorf("%s is too large", s.text)
	}
	if percent {
		n /= 100
	}
	return n, nil
}

func parseBytes(s scalar) (int64, error) {
	m := bytesText.FindStringSubmatch(s.text)
	if m == nil {
		return 0, fmt.Errorf("%q is not a size, like 64KiB, 10MiB or a number of bytes", s.text)
	}
	shift := map[string]uint{"": 0, "B": 0, "KiB": 10, "MiB": 20, "GiB": 30}[m[2]]
	n, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil || n > math.MaxInt64>>shift {
		return 0, fmt.Errorf("%s is too large", s.text)
	}
	return n << shift, nil
}

func (f field) duration(s scalar) (time.Duration, error) {
	if integerText.MatchString(s.text) {
		if !f.seconds {
			return 0, fmt.Errorf("%q needs a unit, like %ss or %sm", s.text, s.text, s.text)
		}
		n, err := strconv.ParseInt(s.text, 10, 64)
		if err != nil || n > int64(math.MaxInt64/time.Second) || n < 0 {
			return 0, fmt.Errorf("%s is out of range", s.text)
		}
		return time.Duration(n) * time.Second, nil
	}
	if !durationText.MatchString(s.text) {
		return 0, fmt.Errorf("%q is not a duration, like 90s, 15m or 1h30m", s.text)
	}
	d, err := time.ParseDuration(s.text)
	if err != nil {
		return 0, fmt.Errorf("%q is out of range", s.text)
	}
	return d, nil
}

func parseTime(s scalar) (time.Time, error) {
	if s.text == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339, s.text)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is not a time with an offset, like 2026-11-22T10:00:00+01:00", s.text)
	}
	return at, nil
}

func parsePrefix(s scalar) (netip.Prefix, error) {
	if s.text == "" {
		return netip.Prefix{}, fmt.Errorf("is empty; a network is written like 10.0.0.0/8")
	}
	if addr, err := netip.ParseAddr(s.text); err == nil && addr.Zone() == "" && !addr.Is4In6() {
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(s.text)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is not a network, like 10.0.0.0/8 or 2001:db8::/32", s.text)
	}
	if prefix.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf("%q is IPv4 inside IPv6; write it as IPv4", s.text)
	}
	if prefix != prefix.Masked() {
		return netip.Prefix{}, fmt.Errorf("%q has bits beyond its length; write %s, or the address alone", s.text, prefix.Masked())
	}
	return prefix, nil
}

// parseURL does not quote the text where it may hold a password.
func parseURL(s scalar) (*url.URL, error) {
	u, err := url.Parse(s.text)
	if err == nil && u.Scheme == "unix" {
		if u.Host != "" || !strings.HasPrefix(u.Path, "/") || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
			return nil, fmt.Errorf("%q is not the path of a socket, like unix:/run/shop.sock", s.text)
		}
		return &url.URL{Scheme: "unix", Path: u.Path, OmitHost: true}, nil
	}
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		if strings.Contains(s.text, "@") {
			return nil, fmt.Errorf("is not a URL, like http://127.0.0.1:9000")
		}
		return nil, fmt.Errorf("%q is not a URL, like http://127.0.0.1:9000", s.text)
	}
	switch {
	case u.User != nil:
		return nil, fmt.Errorf("carries a user; a server is only scheme, host and port")
	case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.HasSuffix(s.text, "#"):
		return nil, fmt.Errorf("%q has more than scheme, host and port", s.text)
	}
	if port := u.Port(); port == "" && strings.HasSuffix(u.Host, ":") || port != "" && !isPort(port, 1) {
		return nil, fmt.Errorf("%q has no port from 1 to 65535", s.text)
	}
	u.Path, u.RawPath = "", ""
	return u, nil
}

func isPort(text string, least int) bool {
	n, err := strconv.Atoi(text)
	return err == nil && n >= least && n <= 65535
}

// maxCount bounds the number in a rate, so that arithmetic on it is exact.
const maxCount = 1_000_000_000

func parseRate(s scalar) (Rate, error) {
	if !rateText.MatchString(s.text) {
		return Rate{}, fmt.Errorf("%q is not a rate of at least 1, like 10/s, 120/m or 5000/h", s.text)
	}
	if s.text == "" {
		return Rate{}, nil
	}
	number, unit, _ := strings.Cut(s.text, "/")
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n > maxCount {
		return Rate{}, fmt.Errorf("%q is too large", s.text)
	}
	per := map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour}[unit]
	return Rate{Count: n, Per: per}, nil
}

// bounds holds v against f's min and max, which are written as in the file.
func (f field) bounds(t reflect.Type, v any) error {
	if f.min != "" && f.less(t, v, f.mustConvert(t, f.min)) {
		return fmt.Errorf("must be at least %s", f.min)
	}
	if f.max != "" && f.less(t, f.mustConvert(t, f.max), v) {
		return fmt.Errorf("must be at most %s", f.max)
	}
	return nil
}

func (f field) less(t reflect.Type, a, b any) bool {
	if t.Kind() == reflect.Float64 {
		return a.(float64) < b.(float64)
	}
	return reflect.ValueOf(a).Int() < reflect.ValueOf(b).Int()
}

// mustConvert reads a value out of a struct tag. That each can be read is
// held by a test.
func (f field) mustConvert(t reflect.Type, text string) any {
	v, err := f.convert(t, scalar{text: text})
	if err != nil {
		panic(fmt.Sprintf("config: tag of key %s: %q: %v", f.name, text, err))
	}
	return v
}
