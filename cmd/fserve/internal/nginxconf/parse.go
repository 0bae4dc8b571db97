// Package nginxconf reads configurations of nginx and writes what fserve can do of them as YAML.
package nginxconf

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// directive is one of a configuration, with those in its block.
type directive struct {
	name  string
	args  []string
	block []directive
	place
}

// place is where a directive stands.
type place struct {
	file string
	line int
}

func (p place) String() string { return fmt.Sprintf("%s:%d", p.file, p.line) }

// text is the directive as it could be written on one line, without what is in its block.
func (d *directive) text() string {
	text := strings.Join(strings.Fields(strings.Join(append([]string{d.name}, d.args...), " ")), " ")
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return utf8.RuneError
		}
		return r
	}, text)
}

// arg returns an argument; empty: there is none.
func (d *directive) arg(i int) string {
	if i < len(d.args) {
		return d.args[i]
	}
	return ""
}

const (
	// maxFile bounds each file, in bytes, and maxDepth how deep files and blocks are in each other.
	maxFile  = 4 << 20
	maxDepth = 20
	// maxDirectives bounds all files together.
	maxDirectives = 200_000
)

// reader reads a file and what it includes.
type reader struct {
	prefix string // the directory of the first file: included names begin there
	count  int
	notes  []Note // of what is included and cannot be read
}

// file reads the directives of a file.
func (r *reader) file(name string, depth int) ([]directive, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("%s: files include each other too deep", name)
	}
	info, err := os.Stat(name)
	if err == nil && info.Size() > maxFile {
		err = fmt.Errorf("%s: more than %d bytes", name, maxFile)
	}
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return r.block(newLexer(name, string(b)), depth, false)
}

// block reads directives up to the end of the file, or of the block.
func (r *reader) block(l *lexer, depth int, inside bool) (list []directive, err error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("%v: blocks are too deep", l.place)
	}
	for {
		var words []string
		at, word, sign := place{}, "", byte(0)
		for {
			if word, sign, err = l.next(); err != nil {
				return nil, err
			}
			if sign != 0 {
				break
			}
			if words == nil {
				at = l.began
			}
			words = append(words, word)
		}
		switch {
		case len(words) == 0 && sign == end && inside:
			return nil, fmt.Errorf("%v: the end of the file, and a block has no }", l.place)
		case len(words) == 0 && (sign == end || sign == '}' && inside):
			return list, nil
		case len(words) == 0:
			return nil, fmt.Errorf("%v: unexpected %q", l.place, sign)
		case sign == end || sign == '}':
			return nil, fmt.Errorf("%v: %s has no ;", at, words[0])
		}
		if r.count++; r.count > maxDirectives {
			return nil, fmt.Errorf("%v: more than %d directives", at, maxDirectives)
		}
		d := directive{name: words[0], args: words[1:], place: at}
		switch {
		case sign == '{' && strings.HasSuffix(d.name, "_by_lua_block"):
			err = l.skipBraces()
		case sign == '{':
			d.block, err = r.block(l, depth+1, true)
			d.block = slices.Clip(d.block)
		case d.name == "include" && len(d.args) == 1:
			var more []directive
			more, err = r.include(&d, depth)
			list = append(list, more...)
		}
		if err != nil {
			return nil, err
		}
		if d.name != "include" {
			list = append(list, d)
		}
	}
}

// include reads the files that a pattern names. The usual tables of media types are left out: fserve
// has its own.
func (r *reader) include(d *directive, depth int) (list []directive, err error) {
	pattern := d.args[0]
	if !filepath.IsAbs(pattern) {
		pattern = filepath.Join(r.prefix, pattern)
	}
	if filepath.Base(pattern) == "mime.types" {
		return nil, nil
	}
	names, err := filepath.Glob(pattern) // sorted
	if err != nil {
		return nil, fmt.Errorf("%v: %s: %w", d.place, d.text(), err)
	}
	if len(names) == 0 && !strings.ContainsAny(pattern, "*?[") {
		r.notes = append(r.notes, Note{d.place.String(), d.text(), "there is no such file: what it says is missing here"})
	}
	for _, name := range names {
		more, err := r.file(name, depth+1)
		if err != nil {
			return nil, err
		}
		list = append(list, more...)
	}
	return list, nil
}

// end is the sign of the end of a file.
const end = byte(4)

// lexer cuts a file into words and signs, as nginx does (ngx_conf_read_token).
type lexer struct {
	text  string
	place       // of what comes next
	began place // of the last word
}

func newLexer(name, text string) *lexer {
	return &lexer{text: strings.ToValidUTF8(text, "\uFFFD"), place: place{name, 1}}
}

// next returns a word, or a sign: one of ; { } and end.
func (l *lexer) next() (word string, sign byte, err error) {
	for l.text != "" {
		switch c := l.text[0]; c {
		case ' ', '\t', '\r', '\n':
			l.skip(1)
		case '#':
			n := strings.IndexByte(l.text, '\n')
			if n < 0 {
				n = len(l.text)
			}
			l.skip(n)
		case ';', '{', '}':
			l.skip(1)
			return "", c, nil
		case '"', '\'':
			l.began = l.place
			return l.quoted(c)
		default:
			l.began = l.place
			return l.plain(), 0, nil
		}
	}
	return "", end, nil
}

// skip goes on by n bytes.
func (l *lexer) skip(n int) {
	l.line += strings.Count(l.text[:n], "\n")
	l.text = l.text[n:]
}

func (l *lexer) quoted(quote byte) (string, byte, error) {
	var b strings.Builder
	for i := 1; i < len(l.text); i++ {
		switch c := l.text[i]; {
		case c == quote:
			l.skip(i + 1)
			return b.String(), 0, nil
		case c == '\\' && i+1 < len(l.text):
			i++
			b.WriteString(unescape(l.text[i]))
		default:
			b.WriteByte(c)
		}
	}
	return "", 0, fmt.Errorf("%v: a quote has no end", l.place)
}

// plain reads a word without quotes. The braces of ${name} are of it.
func (l *lexer) plain() string {
	var b strings.Builder
	i := 0
	for ; i < len(l.text); i++ {
		c := l.text[i]
		if strings.IndexByte(" \t\r\n;", c) >= 0 || c == '{' && (i == 0 || l.text[i-1] != '$') {
			break
		}
		if c == '\\' && i+1 < len(l.text) {
			i++
			b.WriteString(unescape(l.text[i]))
			continue
		}
		b.WriteByte(c)
	}
	l.skip(i)
	return b.String()
}

// unescape returns what a backslash and a byte stand for.
func unescape(c byte) string {
	switch c {
	case '"', '\'', '\\':
		return string(c)
	case 't':
		return "\t"
	case 'r':
		return "\r"
	case 'n':
		return "\n"
	}
	return `\` + string(c)
}

// skipBraces goes on to after the brace that ends a block of another language.
func (l *lexer) skipBraces() error {
	depth := 1
	for i := range len(l.text) {
		switch l.text[i] {
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				l.skip(i + 1)
				return nil
			}
		}
	}
	return fmt.Errorf("%v: a block has no end", l.place)
}
