package proc

import (
	"os"
	"testing"
	"time"
)

// TestKeepAwake: while it runs this process uses CPU time.
func TestKeepAwake(t *testing.T) {
	cores, err := Allowed()
	if err != nil {
		t.Fatal(err)
	}
	used := func() float64 {
		s, err := CPUSeconds([]int{os.Getpid()})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	before := used()
	stop, err := KeepAwake(cores[0])
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); used() < before+0.01; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%g s of CPU time in 30 s", used()-before)
		}
	}
	stop() // which waits for the end of the thread
	if _, err := KeepAwake(1 << 20); err == nil {
		t.Error("a core that does not exist")
	}
}
