package difftest

import (
	"bufio"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

// row is a line of DIFFERENCES.md. A cell holds alternatives, each a pattern
// between backticks in which an asterisk stands for any text.
type row struct {
	line                      int
	name, what, nginx, theirs []*pattern // theirs: fserve's
	reason                    string
}

type pattern struct {
	text string
	re   *regexp.Regexp
	used int
}

func (r *row) matches(d difference) bool {
	name := first(r.name, d.name)
	if name == nil || first(r.what, d.what) == nil || first(r.nginx, d.nginx) == nil || first(r.theirs, d.fserve) == nil {
		return false
	}
	for _, use := range []*pattern{name, first(r.what, d.what), first(r.nginx, d.nginx), first(r.theirs, d.fserve)} {
		use.used++
	}
	return true
}

func first(alternatives []*pattern, text string) *pattern {
	for _, p := range alternatives {
		if p.re.MatchString(text) {
			return p
		}
	}
	return nil
}

// unused returns the patterns of r that no difference needed.
func (r *row) unused() (out []string) {
	for _, cell := range [][]*pattern{r.name, r.what, r.nginx, r.theirs} {
		for _, p := range cell {
			if p.used == 0 {
				out = append(out, p.text)
			}
		}
	}
	return out
}

var codeSpan = regexp.MustCompile("`([^`]+)`")

func patterns(cell string) (out []*pattern) {
	for _, m := range codeSpan.FindAllStringSubmatch(cell, -1) {
		re := strings.ReplaceAll(regexp.QuoteMeta(m[1]), `\*`, `.*`)
		out = append(out, &pattern{text: m[1], re: regexp.MustCompile("(?s)^" + re + "$")})
	}
	return out
}

// differencesPage lists what differs, whatever the configuration is.
const differencesPage = "DIFFERENCES.md"

// readTable reads the rows of a page.
func readTable(t *testing.T, page string) []*row {
	t.Helper()
	f, err := os.Open(page)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var rows []*row
	s := bufio.NewScanner(f)
	for n := 1; s.Scan(); n++ {
		r, err := parseRow(s.Text())
		if err != nil {
			t.Fatalf("%s:%d: %v", page, n, err)
		}
		if r != nil {
			r.line = n
			rows = append(rows, r)
		}
	}
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	return rows
}

// parseRow returns nil for a line that is no row of a table.
func parseRow(line string) (*row, error) {
	if !strings.HasPrefix(line, "| `") {
		return nil, nil
	}
	cells := strings.Split(strings.Trim(line, "|"), "|")
	if len(cells) != 5 {
		return nil, fmt.Errorf("%d cells, want 5", len(cells))
	}
	r := &row{
		name: patterns(cells[0]), what: patterns(cells[1]), nginx: patterns(cells[2]), theirs: patterns(cells[3]),
		reason: strings.TrimSpace(cells[4]),
	}
	for i, cell := range [][]*pattern{r.name, r.what, r.nginx, r.theirs} {
		if len(cell) == 0 {
			return nil, fmt.Errorf("cell %d has no pattern", i+1)
		}
	}
	if r.reason == "" {
		return nil, fmt.Errorf("no reason")
	}
	return r, nil
}

func TestTable(t *testing.T) {
	for _, line := range []string{"| `a` | `b` | `c` | why |", "| `a` | b | `c` | `d` | why |", "| `a` | `b` | `c` | `d` | |"} {
		if r, err := parseRow(line); err == nil {
			t.Errorf("%q is taken for %+v", line, r)
		}
	}
	r, err := parseRow("| `range/*` `x` | `status` | `206 bytes */20` | `200` | why |")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []difference{
		{"range/a", "length", "206 bytes 0-4/20", "200"}, {"ranges/a", "status", "206 bytes 0-4/20", "200"},
		{"range/a", "status", "206 bytes 0-4/21", "200"}, {"range/a", "status", "206 bytes 0-4/20", "2000"},
	} {
		if r.matches(d) {
			t.Errorf("%v matches", d)
		}
	}
	if !r.matches(difference{"range/a", "status", "206 bytes 0-4/20", "200"}) {
		t.Error("a listed difference does not match")
	}
	if u := r.unused(); len(u) != 1 || u[0] != "x" {
		t.Errorf("unused: %q, want only x", u)
	}
}
