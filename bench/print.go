package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/bench/proc"
	"github.com/fserve/fserve/bench/report"
	"github.com/fserve/fserve/bench/suite"
)

// header records what figures depend on.
func header(o *suite.Options) []report.Field {
	pinned := fmt.Sprintf("server %d, load %d", o.ServerCPU, o.LoadCPU)
	if o.ServerCPU == o.LoadCPU {
		pinned += " (shared: the figures mean little)"
	} else if o.Spin {
		pinned += " (polling)"
	}
	h := []report.Field{
		{Name: "date", Value: time.Now().UTC().Format(time.RFC3339)},
		{Name: "kernel", Value: kernel()},
		{Name: "CPU", Value: proc.CPUModel([]byte(text("/proc/cpuinfo")))},
		{Name: "cores", Value: pinned},
		{Name: "tcp", Value: congestion() + over(o)},
		{Name: "go", Value: strings.TrimPrefix(runtime.Version(), "go")},
	}
	if rev := revision(); rev != "" {
		h = append(h, report.Field{Name: "tree", Value: rev})
	}
	if o.Nginx.Binary != "" {
		h = append(h, report.Field{Name: "nginx", Value: o.Nginx.Version})
	}
	if len(o.Missing) > 0 {
		h = append(h, report.Field{Name: "not installed", Value: strings.Join(o.Missing, ", ")})
	}
	return append(h,
		report.Field{Name: "connections", Value: fmt.Sprint(o.Conns)},
		report.Field{Name: "pairs", Value: fmt.Sprintf("%d of %v", o.Pairs, o.Measure)},
	)
}

// over says which network the load comes over, if it is not loopback.
func over(o *suite.Options) string {
	if o.Netns == "" {
		return ""
	}
	return ", over a pair of veth devices"
}

// congestion names the congestion control, and warns of the one that decides
// the figures of large files.
func congestion() string {
	name := text(congestionFile)
	if name == "bbr" {
		name += " (paces by timers, which costs more than the server does for large files; see -congestion)"
	}
	return name
}

// text returns a small file of the kernel, without the space around it.
func text(name string) string {
	b, err := os.ReadFile(name)
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(b))
}

// revision names the commit of the working directory, which fserve is built
// from; it is empty outside of a repository.
func revision() string {
	out, err := exec.Command("git", "describe", "--always", "--dirty").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

func kernel() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(u.Release[:])
}

// format writes a report: text and Markdown case by case as they are complete,
// JSON at the end.
type format struct {
	begin func(io.Writer, *report.Report) error
	add   func(io.Writer, *report.Case) error
	end   func(io.Writer, *report.Report) error
}

func (f *flags) format() format {
	head := func(w io.Writer, r *report.Report) error { return report.WriteHeader(w, r.Header) }
	none := func(io.Writer, *report.Report) error { return nil }
	switch {
	case f.json:
		return format{
			begin: none,
			add:   func(io.Writer, *report.Case) error { return nil },
			end:   func(w io.Writer, r *report.Report) error { return r.WriteJSON(w) },
		}
	case f.markdown:
		return format{head, func(w io.Writer, c *report.Case) error { return c.WriteMarkdown(w) }, none}
	}
	return format{head, func(w io.Writer, c *report.Case) error { return c.WriteText(w) }, none}
}

// recording returns a format that also writes Markdown under the date to page.
func (f format) recording(page io.Writer) format {
	return format{
		begin: func(w io.Writer, r *report.Report) error {
			return errors.Join(report.WriteSection(page, r.Header), f.begin(w, r))
		},
		add: func(w io.Writer, c *report.Case) error { return errors.Join(c.WriteMarkdown(page), f.add(w, c)) },
		end: f.end,
	}
}
