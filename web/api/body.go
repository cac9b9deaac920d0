package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"time"
	"unicode/utf8"
)

// fields are the members of a JSON object that were not read yet. Names count
// as they are spelled; of two with one name the last counts.
type fields struct {
	path    string // of the object within the body, with a dot behind it
	members map[string]json.RawMessage
}

// body reads the one JSON object that a request brings, of at most limit bytes.
// Where named is set it must say that it is JSON; else it may say nothing.
func (c *call) body(limit int64, named bool) (*fields, error) {
	if kind := c.Header.Get("Content-Type"); kind != "application/json" && (kind != "" || named) {
		if media, _, err := mime.ParseMediaType(kind); err != nil || media != "application/json" {
			return nil, refused(InvalidRequest, sayMediaType).as(http.StatusUnsupportedMediaType)
		}
	}
	data, err := io.ReadAll(http.MaxBytesReader(nil, c.Body, limit))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		c.answer.Set("Connection", "close") // else the server waits for the rest of it
		return nil, refused(InvalidRequest, sayTooLarge, limit).as(http.StatusRequestEntityTooLarge)
	case err != nil:
		return nil, refused(InvalidRequest, sayNotJSON) // it did not come whole
	case len(data) == 0:
		return nil, refused(InvalidRequest, sayNoBody)
	}
	f := &fields{}
	if !utf8.Valid(data) || json.Unmarshal(data, &f.members) != nil || f.members == nil {
		return nil, refused(InvalidRequest, sayNotJSON)
	}
	return f, nil
}

// read takes a member into what into points to, and leaves it as it is where
// there is no such member. null is for pointers.
func (f *fields) read(name string, into any, kind sentence) error {
	value, ok := f.members[name]
	if !ok {
		return nil
	}
	delete(f.members, name)
	if string(value) == "null" && !clears(into) || !decode(value, into) {
		return wrong(f.path+name, sayType, kind)
	}
	return nil
}

// decode reads a value that is valid JSON into what into points to, and reports
// whether it fits. What stands in the text as it is needs no decoder.
func decode(value []byte, into any) bool {
	switch into := into.(type) {
	case *string:
		if value[0] == '"' && bytes.IndexByte(value, '\\') < 0 {
			*into = string(value[1 : len(value)-1])
			return true
		}
	case *int64:
		if n, err := strconv.ParseInt(string(value), 10, 64); err == nil {
			*into = n
			return true
		}
	}
	return json.Unmarshal(value, into) == nil
}

// clears reports whether null has a meaning for what into points to.
func clears(into any) bool {
	switch into.(type) {
	case **int64, **string, **time.Time:
		return true
	}
	return false
}

// object takes a member that is an object itself; nil: there is none.
func (f *fields) object(name string) (*fields, error) {
	value, ok := f.members[name]
	if !ok {
		return nil, nil
	}
	delete(f.members, name)
	inner := &fields{path: f.path + name + "."}
	if json.Unmarshal(value, &inner.members) != nil || inner.members == nil {
		return nil, wrong(f.path+name, sayType, anObject)
	}
	return inner, nil
}

// skip drops members that answers have and requests need not leave out.
func (f *fields) skip(names ...string) {
	for _, name := range names {
		delete(f.members, name)
	}
}

// end refuses what nobody read: a misspelled field must not look done.
func (f *fields) end() error {
	least := ""
	for name := range f.members {
		if least == "" || name < least {
			least = name
		}
	}
	if len(f.members) == 0 {
		return nil
	}
	if len(least) > 64 || !plain(least) {
		least = "?"
	}
	return wrong(f.path+least, sayUnknown)
}

// plain reports whether text is one line that can be shown as it is.
func plain(text string) bool {
	for _, c := range text {
		if c < ' ' || c >= 0x7f && c < 0xa0 || c == utf8.RuneError {
			return false
		}
	}
	return true
}

// line checks a text of least to most characters on one line.
func line(field, text string, least, most int) error {
	n := utf8.RuneCountInString(text)
	switch {
	case n == 0 && least > 0:
		return wrong(field, sayMissing)
	case n < least || n > most:
		return wrong(field, sayLength, least, most)
	case !plain(text):
		return wrong(field, sayText)
	}
	return nil
}
