package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Kind is a layer of the configuration. Later ones win.
type Kind uint8

const (
	FromDefault Kind = iota
	FromFile
	FromEnv
	FromFlag
)

// Origin says where a value comes from.
type Origin struct {
	Kind Kind
	// Name is the path of the file, the name of the variable, or the name of the
	// flag without its dashes.
	Name string
	// Line and Column are the place in the file, from 1; 0: all of it.
	Line, Column int
}

func (o Origin) String() string {
	switch o.Kind {
	case FromFile:
		return o.position()
	case FromEnv:
		return o.Name
	case FromFlag:
		return "--" + o.Name
	}
	return "default"
}

func (o Origin) position() string {
	switch {
	case o.Line == 0:
		return o.Name
	case o.Column == 0:
		return fmt.Sprintf("%s:%d", o.Name, o.Line)
	}
	return fmt.Sprintf("%s:%d:%d", o.Name, o.Line, o.Column)
}

// Origins says where the values come from that are not defaults, by path:
// timeouts.send, listen[0], limits.paths[/high/].rate.
type Origins map[string]Origin

// Of returns where the value with a path comes from: what is not known by itself
// comes from where the list, table or mapping does that it is part of.
func (o Origins) Of(path string) Origin {
	for path != "" {
		if at, ok := o[path]; ok {
			return at
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
	return Origin{}
}

// forget drops the origins of a value and its parts.
func (o Origins) forget(path string) {
	for p := range o {
		if within(p, path) {
			delete(o, p)
		}
	}
}

// within reports whether path is that of a value or of a part of it.
func within(path, value string) bool {
	rest, ok := strings.CutPrefix(path, value)
	return ok && (rest == "" || rest[0] == '[' || rest[0] == '.')
}

// Problem is something that is wrong with a configuration.
type Problem struct {
	// Path is that of the value; empty: of no single one.
	Path string
	// Origin is where it was given. The zero value: nowhere.
	Origin Origin
	// Text says what is wrong.
	Text string
	// Sense is set if the value is well formed but cannot work.
	Sense bool
}

// Error returns one line: FILE:LINE:COLUMN: PATH: TEXT for what is in a file;
// otherwise with the name of the variable or the flag.
func (p Problem) Error() string {
	var b strings.Builder
	if p.Origin.Kind != FromDefault {
		b.WriteString(p.Origin.String() + ": ")
	}
	if p.Origin.Kind == FromFile && p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	b.WriteString(p.Text)
	return b.String()
}

// Problems is everything that is wrong with a configuration, as an error.
type Problems []Problem

// Error returns a line for each.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i := range ps {
		lines[i] = ps[i].Error()
	}
	return strings.Join(lines, "\n")
}

// sort orders by layer, file and place.
func (ps Problems) sort() {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		x, y := a.Origin, b.Origin
		return cmp.Or(cmp.Compare(x.Kind, y.Kind), cmp.Compare(x.Name, y.Name), cmp.Compare(x.Line, y.Line),
			cmp.Compare(x.Column, y.Column), cmp.Compare(a.Path, b.Path))
	})
}

// orNil returns the sorted problems as an error, nil if there are none.
func (ps Problems) orNil() error {
	if len(ps) == 0 {
		return nil
	}
	ps.sort()
	return ps
}
