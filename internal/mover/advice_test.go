package mover

import (
	"os"
	"path/filepath"
	"testing"
)

func TestAdviceOf(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for range 2 { // from the device, then from memory
		if n := adviceOf(int32(f.Fd())); n < MinAdvice || n > maxAdvice || n%MinAdvice != 0 {
			t.Errorf("%d bytes, want a multiple of %d up to %d", n, MinAdvice, maxAdvice)
		}
	}
	if n := adviceOf(-1); n != MinAdvice {
		t.Errorf("%d bytes for no file, want %d", n, MinAdvice)
	}
}
