package httpfile

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"strings"
)

// Compression says which representations are compressed for the clients that accept it. The
// zero value has the defaults.
type Compression struct {
	// Types are the media types that are compressed, without parameters: text/html, and with
	// one * for any bytes text/* or *+json. Default: CompressibleTypes.
	Types []string
	// MinSize and MaxSize are the sizes of content that is worth it, in bytes, at most 64 MiB. What
	// is smaller gains nothing, what is larger takes memory and time. Default: 1 KiB and 1 MiB.
	MinSize, MaxSize int64
	// Level is how much time is spent for how much less size, from 1 to 9, as gzip has it; the
	// levels of Zstandard are the nearest that there are. Default: 5.
	Level int
}

// CompressibleTypes is the default of Compression.Types. It must not be changed.
var CompressibleTypes = []string{
	"text/*", "*+json", "*+xml", "application/json", "application/javascript", "application/xml", "application/yaml", "application/toml",
	"application/wasm", "font/ttf", "font/otf", "image/bmp", "image/vnd.microsoft.icon",
}

const (
	defaultMinSize  = 1 << 10
	defaultMaxSize  = 1 << 20
	mostMaxSize     = 64 << 20
	defaultLevel    = 5
	mostLevel       = 9
	maxCompressions = 100 // types
)

// MadeOrder is the server's order of preference among the codings that it makes itself. It must not be changed.
var MadeOrder = []Coding{Zstd, Gzip}

// compileCompression checks a Compression and fills in its defaults; nil: there is none.
func compileCompression(c *Compression) (*Compression, error) {
	if c == nil {
		return nil, nil
	}
	out := Compression{
		Types: c.Types, MinSize: cmp.Or(c.MinSize, defaultMinSize), MaxSize: cmp.Or(c.MaxSize, defaultMaxSize), Level: cmp.Or(c.Level, defaultLevel),
	}
	if len(out.Types) == 0 {
		out.Types = CompressibleTypes
	}
	faults := []error{
		checkRange("compress: max size", out.MaxSize, 1, mostMaxSize),
		checkRange("compress: min size", out.MinSize, 1, max(out.MaxSize, 1)),
		checkRange("compress: level", int64(out.Level), 1, mostLevel),
		checkRange("compress: number of types", int64(len(out.Types)), 1, maxCompressions),
	}
	for _, t := range out.Types {
		example := strings.Replace(t, "*", "x", 1)
		if t != example && !strings.Contains(t, "/") {
			example = strings.Replace(t, "*", "x/x", 1)
		}
		if strings.ContainsAny(example, "*; \t") || checkType("", example) != nil {
			faults = append(faults, fmt.Errorf("compress: type %q: neither type/subtype nor a pattern with one *", t))
		} else if isCompressed(strings.ToLower(t)) {
			faults = append(faults, fmt.Errorf("compress: type %q is compressed already", t))
		}
	}
	return &out, errors.Join(faults...)
}

// Level returns that of the compression of a representation, 0: it is not compressed.
// contentType is the value of the field, size in bytes.
func (p *Policy) Level(contentType string, size int64) int {
	c := p.compress
	if c == nil || size < c.MinSize || size > c.MaxSize {
		return 0
	}
	typ, _, _ := strings.Cut(contentType, ";")
	if typ = strings.ToLower(strings.TrimRight(typ, " \t")); isCompressed(typ) {
		return 0
	}
	for _, pattern := range c.Types {
		before, after, star := strings.Cut(strings.ToLower(pattern), "*")
		if !star && typ == before || star && len(typ) >= len(before)+len(after) && strings.HasPrefix(typ, before) && strings.HasSuffix(typ, after) {
			return c.Level
		}
	}
	return 0
}

// Compresses reports whether anything is compressed.
func (p *Policy) Compresses() bool { return p.compress != nil }

// isCompressed reports whether a media type stands for what is compressed by itself.
func isCompressed(typ string) bool {
	main, sub, _ := strings.Cut(typ, "/")
	if strings.Contains(typ, "*") || strings.Contains(sub, "+") {
		return false
	}
	switch main {
	case "audio", "video":
		return sub != "wav" && sub != "midi"
	case "image":
		return sub != "bmp" && sub != "vnd.microsoft.icon" && sub != "x-icon" && sub != "tiff"
	case "font":
		return strings.HasPrefix(sub, "woff")
	case "application":
		for _, packed := range []string{"*zip", "*zip2", "zstd", "*compressed", "x-xz", "x-lzma", "x-lz4", "x-bzip*", "x-rar*", "vnd.rar", "java-archive", "pdf", "*.debian.binary-package"} {
			if ok, _ := path.Match(packed, sub); ok {
				return true
			}
		}
	}
	return false
}

// packed are extensions of what is compressed already: it gets no sidecars, is
// not asked about, and does not vary.
var packed = func() map[string]bool {
	m := make(map[string]bool)
	for _, ext := range strings.Fields(`
		br gz tgz svgz zst xz txz lz4 bz2 tbz2 lzma zip 7z rar jar war apk ipa aab cab deb rpm dmg whl crate nupkg
		jpg jpeg png gif webp avif heic jxl mp3 m4a aac ogg oga opus flac mp4 m4v mov mkv webm ogv woff woff2`) {
		m["."+ext] = true
	}
	return m
}()

// MayBeCoded reports whether the file of a path can gain by a coding.
func MayBeCoded(path string) bool {
	dot := strings.LastIndexByte(path, '.')
	return dot < 0 || !packed[strings.ToLower(path[dot:])]
}
