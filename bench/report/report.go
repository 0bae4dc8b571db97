package report

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// Direction says which of two values of a metric is the better one, if they
// are worth comparing.
type Direction string

// The directions.
const (
	NotCompared Direction = ""
	Higher      Direction = "higher"
	Lower       Direction = "lower"
)

// Legend explains the columns of a table.
const Legend = "Values are medians of the rounds. A ratio is the median (least-greatest) of the rounds' ratios to the server " +
	"whose ratio is 1; ↑: higher is better, ↓: lower is better."

// heading returns the head of the column of ratios.
func (d Direction) heading() string {
	if d == Higher {
		return "ratio ↑"
	}
	return "ratio ↓"
}

// Metric is one column of a case, with its unit in the name.
type Metric struct {
	Name   string    `json:"name"`
	Better Direction `json:"better,omitempty"`
}

// Row holds the runs of one server.
type Row struct {
	Server   string      `json:"server"`
	Baseline string      `json:"baseline,omitempty"` // the row that this one is compared with
	Runs     [][]float64 `json:"runs"`               // one value a metric for each round
}

// column returns the values of metric m over all rounds.
func (r *Row) column(m int) []float64 {
	c := make([]float64, len(r.Runs))
	for i, run := range r.Runs {
		c[i] = run[m]
	}
	return c
}

// Case is what one case brought.
type Case struct {
	Name    string   `json:"name"`
	About   string   `json:"about"`
	Metrics []Metric `json:"metrics"`
	Rows    []Row    `json:"rows"`
	Notes   []string `json:"notes,omitempty"` // what was not measured, and why
}

// Field is one line of a report's header.
type Field struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Report is a whole run.
type Report struct {
	Header []Field `json:"header"`
	Cases  []Case  `json:"cases"`
}

// cells returns the table of a case, its first line the column heads. value
// renders the runs of one metric. A compared value is followed by the median,
// the least and the greatest of its ratios to the baseline's run of the same
// round.
func (c *Case) cells(value func(runs []float64) string) [][]string {
	head := []string{"server"}
	for _, m := range c.Metrics {
		head = append(head, m.Name)
		if m.Better != NotCompared {
			head = append(head, m.Better.heading())
		}
	}
	cells := [][]string{head}
	for i := range c.Rows {
		row := &c.Rows[i]
		line := []string{row.Server}
		for m, metric := range c.Metrics {
			line = append(line, value(row.column(m)))
			if metric.Better != NotCompared {
				line = append(line, c.ratio(row, m))
			}
		}
		cells = append(cells, line)
	}
	return cells
}

// ratio renders the comparison of a row with its baseline.
func (c *Case) ratio(row *Row, m int) string {
	if row.Baseline == row.Server {
		return "1"
	}
	for i := range c.Rows {
		if base := &c.Rows[i]; base.Server == row.Baseline {
			if r, ok := Ratios(row.column(m), base.column(m)); ok {
				return fmt.Sprintf("%.2f (%.2f-%.2f)", r.Median, r.Min, r.Max)
			}
		}
	}
	return "-"
}

// middle renders the median of the runs.
func middle(runs []float64) string { return Number(Median(runs)) }

// spread renders the median of the runs, and the least and the greatest of
// several.
func spread(runs []float64) string {
	least, greatest := Number(slices.Min(runs)), Number(slices.Max(runs))
	if least == greatest {
		return least
	}
	return fmt.Sprintf("%s (%s-%s)", middle(runs), least, greatest)
}

// Number renders a value with about four significant digits.
func Number(v float64) string {
	switch {
	case v != v:
		return "-"
	case v >= 1000 || v == math.Trunc(v):
		return fmt.Sprintf("%.0f", v)
	case v >= 100:
		return fmt.Sprintf("%.1f", v)
	case v >= 10:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.3f", v)
}

// WriteText writes a case as an aligned table: names left, figures right.
func (c *Case) WriteText(w io.Writer) error {
	cells := c.cells(middle)
	width := make([]int, len(cells[0]))
	for _, line := range cells {
		for i, s := range line {
			width[i] = max(width[i], utf8.RuneCountInString(s))
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n", c.Name, c.About)
	for _, line := range cells {
		if len(c.Rows) == 0 {
			break
		}
		fmt.Fprintf(&b, "  %-*s", width[0], line[0])
		for i, s := range line[1:] {
			fmt.Fprintf(&b, "  %*s", width[i+1], s)
		}
		b.WriteByte('\n')
	}
	for _, n := range c.Notes {
		fmt.Fprintf(&b, "  note: %s\n", n)
	}
	b.WriteByte('\n')
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteMarkdown writes a case as a Markdown table, with the spread of each
// value.
func (c *Case) WriteMarkdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "### %s\n\n%s\n\n", c.Name, c.About)
	for i, line := range c.cells(spread) {
		if len(c.Rows) == 0 {
			break
		}
		fmt.Fprintf(&b, "| %s |\n", strings.Join(line, " | "))
		if i == 0 {
			b.WriteString("|---|" + strings.Repeat("---:|", len(line)-1) + "\n")
		}
	}
	for _, n := range c.Notes {
		fmt.Fprintf(&b, "\nNote: %s\n", n)
	}
	b.WriteByte('\n')
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteHeader writes a header on one line of text, and the legend.
func WriteHeader(w io.Writer, header []Field) error {
	parts := make([]string, len(header))
	for i, f := range header {
		parts[i] = f.Name + " " + f.Value
	}
	_, err := fmt.Fprintf(w, "%s\n\n%s\n\n", strings.Join(parts, " | "), Legend)
	return err
}

// WriteSection writes a header as the begin of a section of a Markdown page: its
// first field, the date, is the heading, and the others are a table.
func WriteSection(w io.Writer, header []Field) error {
	var b strings.Builder
	fmt.Fprintf(&b, "## %s\n\n| | |\n|---|---|\n", header[0].Value)
	for _, f := range header[1:] {
		fmt.Fprintf(&b, "| %s | %s |\n", f.Name, f.Value)
	}
	fmt.Fprintf(&b, "\n%s\n\n", Legend)
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteJSON writes a report with every run's values.
func (r *Report) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}
