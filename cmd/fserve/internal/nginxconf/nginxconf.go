package nginxconf

import (
	"fmt"
	"path/filepath"
)

// Note is a directive that the YAML does not say, or not quite.
type Note struct {
	At        string // FILE:LINE
	Directive string
	Why       string
}

func (n Note) String() string { return fmt.Sprintf("%s: %s: %s", n.At, n.Directive, n.Why) }

// Result is a configuration in the words of fserve.
type Result struct {
	YAML []byte
	// Left are the directives that have no effect in it. They are comments of the YAML, too.
	Left []Note
	// Remarks are what is done in another way.
	Remarks []Note
}

// Import reads a configuration of nginx with all that it includes. An error is of files that cannot
// be read or are no configuration.
func Import(file string) (*Result, error) {
	r := &reader{prefix: filepath.Dir(file)}
	list, err := r.file(file, 0)
	if err != nil {
		return nil, err
	}
	t := newTranslator()
	t.main.notes = append(t.main.notes, r.notes...)
	t.left = append(t.left, r.notes...)
	t.read(list)
	text, err := t.write()
	return &Result{text, t.left, t.remarks}, err
}
