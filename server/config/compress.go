package config

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/fserve/fserve/server/httpfile"
)

// Compress says what is compressed for the clients that accept it. In a file it is on, off, or a
// mapping of the keys below.
type Compress struct {
	// Types are media types, with at most one * for any bytes: text/*, *+json. Default: text,
	// JSON, XML, JavaScript, WebAssembly and what else is not compressed by itself.
	Types []string `key:"types"`
	// MinSize is the size from which on it is worth it. Default: 1KiB.
	MinSize Size `key:"min_size"`
	// MaxSize is the size up to which it is done, at most 64MiB. Default: 1MiB.
	MaxSize Size `key:"max_size"`
	// Level is how much time is spent for how much less size, from 1 to 9. Default: 5.
	Level int `key:"level"`
}

// compressParts are the keys of a Compress that have a single value.
var compressParts = keysOf(reflect.TypeFor[Compress]())[1:]

// compressLevel is the default level: a Compress with nothing else is on.
const compressLevel = 5

// Set reads on, off, or KEY=VALUE with commas; the types are separated by spaces.
func (c *Compress) Set(s string) error {
	var out Compress
	switch s {
	case "on", "true":
		out.Level = compressLevel
	case "off", "false", "":
	default:
		err := eachPart(strings.Split(s, ","), func(key, value string) error {
			if key == "types" {
				out.Types = strings.Fields(value)
				return nil
			}
			return setPart(reflect.ValueOf(&out).Elem(), compressParts, key, value, "types")
		})
		if err != nil {
			return fmt.Errorf("neither on nor off: %w", err)
		}
	}
	*c = out
	return nil
}

// String returns what Set reads.
func (c Compress) String() string {
	parts := partTexts(reflect.ValueOf(c), compressParts)
	if len(c.Types) > 0 {
		parts = append([]string{"types=" + strings.Join(c.Types, " ")}, parts...)
	}
	if len(parts) == 0 {
		return "off"
	}
	return strings.Join(parts, ",")
}

// policy returns what is compressed; nil: nothing.
func (c *Compress) policy() *httpfile.Compression {
	if c == nil || reflect.ValueOf(*c).IsZero() {
		return nil
	}
	return &httpfile.Compression{Types: c.Types, MinSize: int64(c.MinSize), MaxSize: int64(c.MaxSize), Level: c.Level}
}
