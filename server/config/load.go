package config

import (
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// Sources are where a configuration is read from.
type Sources struct {
	// Flags are those of the command line; nil: none.
	Flags *Flags
	// Environ are variables as os.Environ has them. Those that begin with FSERVE_ and that
	// nothing is called by have no effect; see Unknown.
	Environ []string
}

// Loaded is a configuration that was read, with the origins of its values.
type Loaded struct {
	*Config
	// Origins says where the values come from.
	Origins Origins
	// Files are those that were read, in their order.
	Files []string

	files *build // what the files say, without variables and flags
}

// Problem is what is wrong with the value with a path, which is well formed.
func (l *Loaded) Problem(path string, err error) Problem {
	return Problem{Path: path, Origin: l.Origins.Of(path), Text: err.Error(), Sense: true}
}

// Load reads the defaults, the files, the environment and the flags, and checks
// the result. The error is Problems if it is the configuration that is wrong.
//
// Files are read again at each call; flags and variables are what they were, so
// that they go on to win over files that have changed.
func (s *Sources) Load() (*Loaded, error) {
	return s.assemble(readAll(s.boot().File))
}

// boot returns the configuration that is known before any file is read: it names the
// files, and the place of the last good ones.
func (s *Sources) boot() *Config {
	b := newBuild()
	given, _ := s.given()
	b.apply(given)
	b.settle(s.Environ)
	return b.cfg
}

// assemble makes a configuration of files that have been read.
func (s *Sources) assemble(in input) (*Loaded, error) {
	if len(in.problems) > 0 {
		return nil, in.problems.orNil()
	}
	given, problems := s.given()
	b := newBuild()
	if len(in.names) > 0 {
		b.dir, _ = filepath.Abs(filepath.Dir(in.names[0])) // without a working directory paths stay as they are
	}
	l := &Loaded{Config: b.cfg, Origins: b.origins, Files: in.names}
	for i, name := range in.names {
		b.readFile(name, in.contents[i])
	}
	l.files = b.copy() // what comes now replaces lists and tables, and does not change them
	b.problems = append(b.problems, problems...)
	b.apply(given)
	b.settle(s.Environ)
	b.validate()
	if err := b.problems.orNil(); err != nil {
		return nil, err
	}
	return l, nil
}

// settle fills in the defaults that depend on other values.
func (b *build) settle(environ []string) {
	c := b.cfg
	if len(c.TLS.Listen) > 0 && b.origins.Of("listen").Kind == FromDefault {
		c.Listen = nil // TLS only
	}
	if c.StateDir == "" {
		dirs, _ := lookup(environ, stateVariable)
		c.StateDir, _, _ = strings.Cut(dirs, ":")
	}
}

// validate adds what is wrong with the values that could be read. What could not
// be read is not reported again, nor, if there is any, what is missing: it may be
// meant by it.
func (b *build) validate() {
	unread := b.problems
	for _, p := range b.cfg.validate(b.origins) {
		again := slices.ContainsFunc(unread, func(q Problem) bool { return q.Path != "" && within(p.Path, q.Path) })
		if !again && (len(unread) == 0 || p.Origin.Kind != FromDefault) {
			b.problems = append(b.problems, p)
		}
	}
}

// stateVariable is where systemd gives a service its directories for state
// (systemd.exec(5), StateDirectory=), separated by colons.
const stateVariable = "STATE_DIRECTORY"

// given returns the values of variables and flags, in the order in which they count.
// A variable is not looked at if there is the flag.
func (s *Sources) given() (list []given, problems Problems) {
	flags := s.Flags
	if flags == nil {
		flags = &Flags{}
	}
	for i := range fields {
		f := &fields[i]
		text, ok := lookup(s.Environ, f.env)
		if f.env == "" || !ok || flags.has(f) {
			continue
		}
		g := given{f, text, Origin{Kind: FromEnv, Name: f.env}}
		if err := f.set(reflect.New(f.typ).Elem(), text); err != nil {
			text := err.Error()
			if f.secret {
				text = "it cannot be read"
			}
			problems = append(problems, Problem{Path: f.path, Origin: g.origin, Text: text})
			continue
		}
		list = append(list, g)
	}
	return append(list, flags.given...), problems
}

// ofServices are the variables that systems which run containers make of the names of services.
var ofServices = regexp.MustCompile(`^FSERVE_(.*_)?(SERVICE_(HOST|PORT(_.*)?)|PORT(_\d+_(TCP|UDP|SCTP)(_.*)?)?)$`)

// Unknown returns a line for each variable that looks like one of fserve and has no effect.
func (s *Sources) Unknown() (lines []string) {
	var names []string
	for i := range fields {
		if fields[i].env != "" {
			names = append(names, strings.TrimPrefix(fields[i].env, EnvPrefix))
		}
	}
	for _, v := range s.Environ {
		name, _, _ := strings.Cut(v, "=")
		rest, ours := strings.CutPrefix(name, EnvPrefix)
		if !ours || slices.Contains(names, rest) || ofServices.MatchString(name) {
			continue
		}
		line := "unknown variable " + name
		if n := nearest(rest, names); n != "" {
			line += "; did you mean " + EnvPrefix + n + "?"
		}
		lines = append(lines, line)
	}
	return lines
}

// lookup returns the value of a variable, the last one if it is there twice.
func lookup(environ []string, name string) (value string, ok bool) {
	for _, v := range environ {
		if n, text, found := strings.Cut(v, "="); found && n == name {
			value, ok = text, true
		}
	}
	return value, ok
}

// apply puts variables and flags over the values of files. The first one of a list or
// a table replaces what files say, further ones add to it.
func (b *build) apply(list []given) {
	begun := make(map[*field]bool)
	for _, g := range list {
		v := g.field.in(b.cfg)
		if !begun[g.field] {
			begun[g.field] = true
			b.origins.forget(g.field.path)
			v.SetZero()
		}
		b.origins[g.field.path] = g.origin
		if err := g.field.set(v, g.text); err != nil { // it was good when it was given
			b.problems = append(b.problems, Problem{Path: g.field.path, Origin: g.origin, Text: err.Error()})
		}
	}
}

// FromFile reports whether any of the problems is in a file.
func (ps Problems) FromFile() bool {
	return slices.ContainsFunc(ps, func(p Problem) bool { return p.Origin.Kind == FromFile })
}

// Form reports whether all of the problems are of form, and none in a file: it
// is the command line that is wrong.
func (ps Problems) Form() bool {
	return !ps.FromFile() && !slices.ContainsFunc(ps, func(p Problem) bool { return p.Sense })
}
