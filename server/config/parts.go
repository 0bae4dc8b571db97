package config

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// A limit and a profile are one line in flags, variables and differences:
// KEY=VALUE,KEY=VALUE, with the keys that the mapping in a file has.

// partTexts returns KEY=VALUE for those of the keys whose value is set.
func partTexts(v reflect.Value, keys []string) (list []string) {
	for _, key := range keys {
		sf, _ := byKey(v.Type(), key)
		if part := v.FieldByIndex(sf.Index); !part.IsZero() {
			list = append(list, key+"="+textOf(part))
		}
	}
	return list
}

// eachPart gives each KEY=VALUE of a line to set.
func eachPart(parts []string, set func(key, value string) error) error {
	seen := make(map[string]bool)
	for _, p := range parts {
		key, value, ok := pair(strings.TrimSpace(p))
		switch {
		case !ok:
			return fmt.Errorf("%q is not KEY=VALUE", p)
		case seen[key]:
			return fmt.Errorf("%s is given twice", key)
		}
		seen[key] = true
		if err := set(key, value); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	return nil
}

// setPart reads the value of one of the keys. more are named among the keys in the
// error.
func setPart(v reflect.Value, keys []string, key, value string, more ...string) error {
	if !slices.Contains(keys, key) {
		return errors.New("not one of " + strings.Join(slices.Concat(keys, more), ", ") + DidYouMean(key, keys))
	}
	sf, _ := byKey(v.Type(), key)
	return setText(v.FieldByIndex(sf.Index), value)
}
