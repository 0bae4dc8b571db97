// Package aiotest is the one suite that every driver of package aio passes. It
// tests the contract and nothing that is particular to a driver.
//
// Each case runs on one goroutine, which drives the driver and both ends of
// every connection; nothing but the driver is ever waited for. What the
// contract promises for all events (no event after Closed, no Ready that is
// not owed, streams that end once) the harness checks in every case.
package aiotest

import (
	"slices"
	"testing"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/testenv"
)

// NewDriver makes a driver for a test. It skips the test where the driver is
// not to be had. The suite destroys the driver.
type NewDriver = func(t testing.TB, cfg aio.Config) aio.Driver

// testCase is one case of the suite.
type testCase struct {
	name string
	cfg  aio.Config
	run  func(h *harness)
	fs   bool // depends on the file system: runs on tmpfs too
}

// modes are the ways of sending files, with what each reports for files in memory.
var modes = []struct {
	name string
	mode aio.Mode
	via  aio.Via
}{
	{"auto", aio.Auto, aio.ViaSendfile},
	{"sendfile", aio.Sendfile, aio.ViaSendfile},
	{"splice", aio.Splice, aio.ViaSplice},
	{"copy", aio.Copy, aio.ViaCopy},
}

// Run runs the suite on the drivers that newDriver makes.
func Run(t *testing.T, newDriver func(t testing.TB, cfg aio.Config) aio.Driver) {
	for _, group := range [][]testCase{receiveCases, sendCases, acceptCases, closeCases, waitCases, scaleCases} {
		for _, c := range group {
			t.Run(c.name, func(t *testing.T) { c.run(newHarness(t, newDriver, c.cfg)) })
		}
	}
	for _, c := range waitCases {
		c.cfg.HoldProcessor = true
		t.Run("hold/"+c.name, func(t *testing.T) { c.run(newHarness(t, newDriver, c.cfg)) })
	}
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) { runFiles(t, newDriver, m.mode, m.via) })
	}
}

// runFiles runs the cases that send files, on the regular file system and on
// tmpfs, which has no disk below it.
func runFiles(t *testing.T, newDriver NewDriver, mode aio.Mode, via aio.Via) {
	start := func(t *testing.T, c testCase, dir string, tells bool) {
		c.cfg.Mode = mode
		h := newHarness(t, newDriver, c.cfg)
		h.dir, h.via, h.takes = dir, via, tells && (mode == aio.Auto || mode == aio.Splice)
		c.run(h)
	}
	for _, c := range slices.Concat(fileCases, readCases, coldCases, coldReadCases) {
		t.Run(c.name, func(t *testing.T) { start(t, c, t.TempDir(), true) })
	}
	shm, ok := testenv.ShmDir(t)
	if !ok {
		t.Log("no tmpfs: its cases do not run")
		return
	}
	tells := testenv.TellsCached(t, shm) // else nothing counts as in memory before it was fetched
	for _, c := range slices.Concat(fileCases, readCases) {
		if c.fs {
			t.Run("tmpfs/"+c.name, func(t *testing.T) { start(t, c, shm, tells) })
		}
	}
}
