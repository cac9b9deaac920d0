package main

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/ropeline/ropeline/config"
	"github.com/ropeline/ropeline/webhook"
)

func TestWebhooks_TheFileKnowsEveryEvent(t *testing.T) {
	field, _ := reflect.TypeFor[config.Webhook]().FieldByName("Events")
	var kinds []string
	for _, kind := range webhook.Kinds() {
		kinds = append(kinds, string(kind))
	}
	if known := strings.Split(field.Tag.Get("enum"), "|"); !slices.Equal(known, kinds) {
		t.Errorf("the file knows %q, want %q", known, kinds)
	}
}
