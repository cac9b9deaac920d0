package api_test

import (
	"encoding/json"
	"testing"

	"github.com/ropeline/ropeline/web/api"
)

func TestBody_ReadsWhatEncodingJSONReads(t *testing.T) {
	for _, value := range []string{
		`""`, `"a"`, `"é"`, `"\u0041"`, `"a\"b"`, `"\\"`, `"12"`, `"null"`,
		`0`, `-0`, `-5`, `12`, `1.0`, `1e3`, `9007199254740993`, `9223372036854775807`, `9223372036854775808`, `-9223372036854775809`,
		`null`, `true`, `[]`, `[1]`, `{}`, `{"a":"b"}`,
	} {
		var text, wantText string
		if ok, want := api.Decode([]byte(value), &text), json.Unmarshal([]byte(value), &wantText) == nil; ok != want || ok && text != wantText {
			t.Errorf("%s as a text: %q, %v, want %q, %v", value, text, ok, wantText, want)
		}
		var number, wantNumber int64
		if ok, want := api.Decode([]byte(value), &number), json.Unmarshal([]byte(value), &wantNumber) == nil; ok != want || ok && number != wantNumber {
			t.Errorf("%s as a number: %d, %v, want %d, %v", value, number, ok, wantNumber, want)
		}
	}
}
