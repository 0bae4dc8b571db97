package testenv

import (
	"os"
	"strings"
	"testing"
)

// Page checks that a Markdown page has the tables of the code between its marks. With
// FSERVE_DOCS=write, which make docs sets, it puts them there.
func Page(t *testing.T, file string, tables map[string]string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	for mark, table := range tables {
		page = replaceTable(t, page, mark, table)
	}
	if os.Getenv("FSERVE_DOCS") == "write" {
		if err := os.WriteFile(file, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if page != string(b) {
		t.Errorf("%s is not what the code says: run make docs", file)
	}
}

// replaceTable puts a table between two marks of a page.
func replaceTable(t *testing.T, page, mark, table string) string {
	t.Helper()
	begin, end := "<!-- "+mark+": made by `make docs`, do not edit -->\n", "<!-- end of "+mark+" -->\n"
	before, rest, ok := strings.Cut(page, begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("the page has no marks of %s", mark)
	}
	return before + begin + "\n" + table + "\n" + end + after
}
