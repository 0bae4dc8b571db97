package config

import (
	"reflect"
	"regexp"
	"slices"
	"testing"
)

// What is said to be here is here, and a key of ours is not said to be elsewhere.
func TestElsewhere(t *testing.T) {
	known := slices.Concat(keysOf(reflect.TypeFor[Config]()), keysOf(reflect.TypeFor[Files]()), keysOf(reflect.TypeFor[Host]()))
	first := regexp.MustCompile(`^([a-z_.]+)([:,]|$)`)
	for word, here := range elsewhere {
		if slices.Contains(known, word) {
			t.Errorf("%s is a key", word)
		}
		if m := first.FindStringSubmatch(here); m != nil && fieldAt(m[1]) == nil && !slices.Contains(known, m[1]) {
			t.Errorf("%s: there is no key %q", word, m[1])
		}
	}
}
