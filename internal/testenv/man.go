package testenv

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// Man is a manual page while it is written, in the macros of man(7).
type Man struct{ strings.Builder }

// NewMan begins a page.
func NewMan(name string, section int, about string) *Man {
	m := &Man{}
	fmt.Fprintf(m, ".\\\" made by make docs, do not edit\n.TH %s %d \"\" fserve\n", strings.ToUpper(name), section)
	m.Section("Name")
	m.Text(name + " - " + about)
	return m
}

// Section begins a section.
func (m *Man) Section(title string) { fmt.Fprintf(m, ".SH %s\n", strings.ToUpper(title)) }

// Subsection begins a part of a section.
func (m *Man) Subsection(title string) { fmt.Fprintf(m, ".SS %s\n", roff(title)) }

// Text writes paragraphs, which empty lines separate.
func (m *Man) Text(text string) { m.paragraphs(text, ".PP\n") }

// Item writes a term and what is said of it, as paragraphs.
func (m *Man) Item(term, text string) {
	fmt.Fprintf(m, ".TP\n\\fB%s\\fR\n", strings.TrimPrefix(roff(term), `\&`))
	m.paragraphs(text, ".IP\n")
}

func (m *Man) paragraphs(text, between string) {
	m.WriteString(strings.Join(strings.Split(roff(strings.TrimSpace(text)), "\n\n"), "\n"+between) + "\n")
}

// Example writes lines as they are.
func (m *Man) Example(lines string) {
	m.WriteString(".PP\n.nf\n.RS 4\n")
	for line := range strings.Lines(strings.TrimRight(lines, "\n") + "\n") {
		m.WriteString(roff(line))
	}
	m.WriteString(".RE\n.fi\n")
}

// roff writes text so that none of it is a request or an escape.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "\n.", "\n\\&.", "\n'", "\n\\&'").Replace(text)
	if strings.HasPrefix(text, ".") || strings.HasPrefix(text, "'") {
		return `\&` + text
	}
	return text
}

// Check compares the page with a file. With FSERVE_DOCS=write, which make docs sets, it writes it.
func (m *Man) Check(t *testing.T, file string) {
	t.Helper()
	if os.Getenv("FSERVE_DOCS") == "write" {
		if err := os.WriteFile(file, []byte(m.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(file)
	if err != nil || string(b) != m.String() {
		t.Errorf("%s is not what the code says: run make docs (%v)", file, err)
	}
}
