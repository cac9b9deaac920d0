package postgres

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/ropeline/ropeline/admission"
)

// record is one thing told: exactly one of the fields is set.
type record struct {
	Event  *admission.Event  `json:"event,omitempty"`
	Sample *admission.Sample `json:"sample,omitempty"`
	Change *change           `json:"change,omitempty"`
}

// change is an operator's change with an id of its own, so that one that is
// written twice is one.
type change struct {
	ID [16]byte `json:"id"`
	admission.Change
}

func newChange(c admission.Change) *change {
	named := &change{Change: c}
	rand.Read(named.ID[:]) // never fails
	for _, text := range []*string{&named.Actor, &named.Role, &named.Tenant, &named.Action, &named.RequestID, &named.Gateway} {
		*text = clean(*text)
	}
	named.Before, named.After = valid(c.Before), valid(c.After)
	return named
}

// valid returns what is JSON as it is, and anything else as a JSON text: one
// entry must not spoil the batch that it is in.
func valid(raw json.RawMessage) json.RawMessage {
	if len(raw) == 0 || json.Valid(raw) {
		return raw
	}
	text, _ := json.Marshal(clean(string(raw))) // a string can always be encoded
	return text
}

// orNull is what a column of the audit takes: a nil that went through the spool
// comes back as the JSON null.
func orNull(raw json.RawMessage) any {
	if text := string(raw); text != "" && text != "null" {
		return text
	}
	return nil
}

// clean makes a text that PostgreSQL takes: it knows no zero byte and nothing
// that is not UTF-8.
func clean(text string) string {
	return strings.ToValidUTF8(strings.ReplaceAll(text, "\x00", "\uFFFD"), "\uFFFD")
}

func encode(records []record) ([]byte, error) {
	text, err := json.Marshal(records)
	if err != nil {
		return nil, fmt.Errorf("encode %d records: %w", len(records), err)
	}
	return text, nil
}

func decode(text []byte) (records []record, err error) {
	err = json.Unmarshal(text, &records)
	return records, err
}
