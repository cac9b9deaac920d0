package waitpage

import (
	"encoding/json"
	"fmt"

	"golang.org/x/text/feature/plural"
	"golang.org/x/text/language"
)

// plurals are the forms of one sentence about a number, by plural.Form.
type plurals [plural.Many + 1]string

// formNames are the categories of CLDR, as catalogs name them.
var formNames = [...]string{
	plural.Other: "other", plural.Zero: "zero", plural.One: "one",
	plural.Two: "two", plural.Few: "few", plural.Many: "many",
}

// UnmarshalJSON reads {"one": "…", "other": "…"} and replaces what was there.
func (p *plurals) UnmarshalJSON(data []byte) error {
	var forms map[string]string
	if err := json.Unmarshal(data, &forms); err != nil {
		return err
	}
	*p = plurals{}
	for form, name := range formNames {
		p[form] = forms[name]
		delete(forms, name)
	}
	for name := range forms {
		return fmt.Errorf("%q is no plural form; CLDR has zero, one, two, few, many and other", name)
	}
	return nil
}

// pluralOf picks the form for a number in a language: whole, or, where half is
// set, a half more, which some languages count differently.
func pluralOf(tag language.Tag, whole int64, half bool) plural.Form {
	base, _ := tag.Base()
	switch base.String() {
	// What CLDR says since the tables of x/text were made.
	case "es", "fr", "it", "pt":
		if whole != 0 && whole%1_000_000 == 0 && !half {
			return plural.Many
		}
	case "he":
		switch {
		case half && whole == 0, !half && whole == 1:
			return plural.One
		case !half && whole == 2:
			return plural.Two
		}
		return plural.Other
	}
	if half {
		return plural.Cardinal.MatchPlural(tag, int(whole%10_000_000), 1, 1, 5, 5)
	}
	return plural.Cardinal.MatchPlural(tag, int(whole%10_000_000), 0, 0, 0, 0)
}

// formsOf counts how many numbers each form of a language is for, out of
// enough to meet every form: none means that the language does not have it.
func formsOf(tag language.Tag) (numbers [len(plurals{})]int) {
	for n := range int64(201) {
		numbers[pluralOf(tag, n, false)]++
		numbers[pluralOf(tag, n+1, true)]++ // no wait is half a minute or half an hour
	}
	for n := range int64(3) {
		numbers[pluralOf(tag, (n+1)*1_000_000, false)]++
	}
	return numbers
}
