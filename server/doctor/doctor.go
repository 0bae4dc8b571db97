// Package doctor looks for settings of the machine that cost a download origin speed or
// connections. For each it says what is lost and which command mends it. It changes
// nothing.
package doctor

import (
	"fmt"
	"io"
	"runtime"
	"slices"
	"syscall"

	"github.com/fserve/fserve/engine/openfile"
	"github.com/fserve/fserve/server/tls"
	"github.com/fserve/fserve/uring"
)

// Status says how serious a finding is.
type Status string

// A Warning is worth mending. A Note cannot be changed, or depends on what one wants.
const (
	OK      Status = "ok"
	Note    Status = "note"
	Warning Status = "warning"
)

// Finding is the result of one check.
type Finding struct {
	Name   string `json:"name"`
	Status Status `json:"status"`
	Found  string `json:"found"`
	Lost   string `json:"lost,omitempty"` // what it costs; empty with OK
	Mend   string `json:"mend,omitempty"` // a command or a setting
}

// Report is what was found on a machine.
type Report []Finding

// System is the machine that is looked at. Here returns this one.
type System struct {
	// Proc and Sys are where proc(5) and sysfs(5) are mounted.
	Proc, Sys string
	// CPUs is the number of processors that the process may use.
	CPUs int
	// Uring returns why io_uring cannot be used, or nil.
	Uring func() error
	// Openat2 returns why openat2 cannot be used, or nil.
	Openat2 func() error
	// KernelTLS returns why the kernel cannot seal records of TLS, or nil.
	KernelTLS func() error
	// Files looks at the file system of a directory.
	Files func(dir string) (FileSystem, error)
}

// FileSystem is what is known of the file system of a directory.
type FileSystem struct {
	Name string // as in mount(8)
	// Cachestat reports whether cachestat(2) answers for a file of the directory.
	// NoFile reports that there was no file to ask about.
	Cachestat, NoFile bool
	// Nowait reports whether preadv2(2) takes RWF_NOWAIT for it.
	Nowait bool
	// Lease is why a file gets no read lease, 0 if it does.
	Lease syscall.Errno
}

// Here is the machine that this process runs on.
func Here() System {
	return System{Proc: "/proc", Sys: "/sys", CPUs: runtime.NumCPU(), Uring: uring.Probe, Openat2: openfile.Probe, KernelTLS: tls.KernelSeals, Files: lookAt}
}

// Examine runs all checks. root is the directory that is served; if it is empty no
// directory is looked at.
func Examine(s System, root string) Report {
	r := Report{
		s.kernel(), s.uring(), s.openat2(), s.memlock(), s.openFiles(), s.cores(),
		s.congestion(), s.backlog(), s.kernelTLS(),
	}
	if root != "" {
		r = append(r, s.files(root)...)
	}
	return r
}

// Healthy reports whether nothing is worth mending.
func (r Report) Healthy() bool {
	return !slices.ContainsFunc(r, func(f Finding) bool { return f.Status == Warning })
}

// WriteText writes the report for people.
func (r Report) WriteText(w io.Writer) error {
	for _, f := range r {
		text := fmt.Sprintf("%-8s %s: %s\n", f.Status, f.Name, f.Found)
		if f.Lost != "" {
			text += fmt.Sprintf("%9slost: %s\n", "", f.Lost)
		}
		if f.Mend != "" {
			text += fmt.Sprintf("%9smend: %s\n", "", f.Mend)
		}
		if _, err := io.WriteString(w, text); err != nil {
			return err
		}
	}
	return nil
}
