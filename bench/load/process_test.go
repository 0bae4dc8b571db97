package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/fserve/fserve/bench/proc"
)

// TestMain lets this test binary be started as a load generator.
func TestMain(m *testing.M) {
	if len(os.Args) < 2 || os.Args[1] != CommandName {
		os.Exit(m.Run())
	}
	if err := Command(context.Background(), os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// process returns a generator on a core of this machine.
func process(t *testing.T) Process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cores, err := proc.Allowed()
	if err != nil {
		t.Fatal(err)
	}
	return Process{Self: self, CPU: cores[len(cores)-1]}
}

func TestProcess(t *testing.T) {
	o := newOrigin(t, map[string]int{"/f": 1 << 10})
	p := process(t)
	before := Clock()
	res, err := p.Run(t.Context(), o.config(Closed, "/f", 1<<10), nil)
	if err != nil {
		t.Fatal(err)
	}
	if res.Groups[0].Requests < 1 || res.Began < before || res.Began > Clock() {
		t.Errorf("%+v", res)
	}
	if _, err := p.Run(t.Context(), o.config(Closed, "/none", 1<<10), nil); err == nil || !strings.Contains(err.Error(), "status 404") {
		t.Errorf("error %v", err)
	}
}

// Connections are held for as long as the callback runs.
func TestProcessHolds(t *testing.T) {
	o := newOrigin(t, map[string]int{"/f": 1 << 10})
	c := o.config(Hold, "/f", 1<<10)
	c.Measure = 0
	_, err := process(t).Run(t.Context(), c, func(context.Context, int64) error {
		time.Sleep(50 * time.Millisecond)
		if opened, closed := o.opened.Load(), o.closed.Load(); opened != 3 || closed != 0 {
			t.Errorf("%d opened, %d closed", opened, closed)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// A run ends early when what happens beside it fails.
func TestProcessCalledOff(t *testing.T) {
	o := newOrigin(t, map[string]int{"/f": 1 << 10})
	c := o.config(Closed, "/f", 1<<10)
	c.Measure = time.Minute
	broken := errors.New("broken")
	began := time.Now()
	if _, err := process(t).Run(t.Context(), c, func(context.Context, int64) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestCommandRefuses(t *testing.T) {
	for _, in := range []string{"", "{}", "no"} {
		if err := Command(t.Context(), strings.NewReader(in), io.Discard); err == nil {
			t.Errorf("%q was accepted", in)
		}
	}
}
