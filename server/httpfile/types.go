package httpfile

import (
	_ "embed"
	"errors"
	"fmt"
	"strings"
)

// ContentType returns the value of Content-Type for a path, by its extension, or by its name
// if that has none.
// Text gets a charset. XML and JSON types do not: XML names its charset inside, and
// JSON has only one.
func (p *Policy) ContentType(path string) string {
	return p.Typed(p.lookupType(path))
}

// Typed returns the value of Content-Type for a media type: text gets a charset.
func (p *Policy) Typed(typ string) string { return string(p.appendTyped(nil, typ)) }

// appendTyped is Typed in memory of the caller.
func (p *Policy) appendTyped(dst []byte, typ string) []byte {
	dst = append(dst, typ...)
	if p.charset != "none" && strings.HasPrefix(typ, "text/") && !hasCharset(typ) {
		dst = append(append(dst, "; charset="...), p.charset...)
	}
	return dst
}

func (p *Policy) lookupType(path string) string {
	key := extension(path)
	if key == "" {
		key = "/" + strings.ToLower(path[strings.LastIndexByte(path, '/')+1:])
	}
	if t, ok := p.types[key]; ok {
		return t
	}
	if t, ok := builtinTypes[key]; ok {
		return t
	}
	return p.defaultType
}

// compileTypes checks the types of a Config and makes their keys like those of
// the built-in table.
func compileTypes(add map[string]string) (map[string]string, error) {
	types := make(map[string]string, len(add))
	var faults []error
	for ext, typ := range add {
		key := strings.ToLower(strings.TrimPrefix(ext, "."))
		if name := strings.TrimPrefix(key, "/"); name == "" || strings.ContainsAny(name, "./") {
			faults = append(faults, fmt.Errorf("content type of %q: neither an extension nor, with a slash before it, a name without one", ext))
		}
		if err := checkType(fmt.Sprintf("content type of %q:", ext), typ); err != nil {
			faults = append(faults, err)
		}
		types[key] = typ
	}
	return types, errors.Join(faults...)
}

// hasCharset reports whether a type names its charset.
func hasCharset(typ string) bool {
	return strings.Contains(strings.ToLower(typ), "charset=")
}

// extension returns what follows the last dot of the last segment, in lower
// case; nothing for a name whose only dot is its first byte.
func extension(path string) string {
	name := path[strings.LastIndexByte(path, '/')+1:]
	dot := strings.LastIndexByte(name, '.')
	if dot <= 0 {
		return ""
	}
	return strings.ToLower(name[dot+1:])
}

//go:embed mime.types
var mimeTypes string

// builtinTypes are those of mime.types, by extension, or by name with a slash before it.
var builtinTypes = parseTypes(mimeTypes)

func parseTypes(text string) map[string]string {
	types := make(map[string]string)
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) == 0 || words[0] == "#" {
			continue
		}
		for _, ext := range words[1:] {
			types[ext] = words[0]
		}
	}
	return types
}
