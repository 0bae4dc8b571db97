package config

import (
	"reflect"
	"strings"
	"testing"
)

func TestCompress(t *testing.T) {
	for text, want := range map[string]Compress{
		"off": {}, "false": {}, "on": {Level: 5}, "true": {Level: 5}, "level=9": {Level: 9},
		"types=text/* *+json,min_size=1B,max_size=2MiB,level=1": {Types: []string{"text/*", "*+json"}, MinSize: 1, MaxSize: 2 << 20, Level: 1},
	} {
		var got, again Compress
		if err := got.Set(text); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
		if err := again.Set(got.String()); err != nil || !reflect.DeepEqual(again, want) {
			t.Errorf("%q as %q: %+v, %v", text, got.String(), again, err)
		}
	}
	for text, want := range map[string]string{
		"yes": "neither on nor off", "levels=1": "did you mean level?", "level=x": "not a whole number", "min_size=1": "min_size",
	} {
		var c Compress
		if err := c.Set(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
