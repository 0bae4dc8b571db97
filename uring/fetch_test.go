package uring

import "testing"

// TestFetchPipes: however many fetches are queued at once, there are some pipes for each
// worker at most, and when they are done one for each.
func TestFetchPipes(t *testing.T) {
	const workers = 3
	f := fetches{kept: workers}
	var pipes []*fetchPipe
	for range 100 {
		if p := f.pipe(); p != nil {
			pipes = append(pipes, p)
		}
	}
	if len(pipes) == 0 || len(pipes) > pipesPerWorker*workers {
		t.Errorf("%d pipes, want some and at most %d", len(pipes), pipesPerWorker*workers)
	}
	for _, p := range pipes {
		f.giveBack(p)
	}
	if f.open != len(f.pipes) || f.open > workers {
		t.Errorf("%d pipes stay open, %d of them to be used again, want at most %d", f.open, len(f.pipes), workers)
	}
	if err := f.free(); err != nil || f.open != 0 {
		t.Errorf("%d pipes are left: %v", f.open, err)
	}
}
