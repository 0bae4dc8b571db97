package record

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// put adds a line as a loop does, and reports whether there was room.
func (b *buffer) put(line string) bool {
	p := b.room(len(line))
	if p == nil {
		return false
	}
	b.add(append(p, line...))
	return true
}

// Lines of several loops arrive whole, once and in the order of each loop, whoever asks
// for them to be written meanwhile.
func TestLogBufferKeepsOrder(t *testing.T) {
	var out bytes.Buffer
	a := NewAccessLog(&out)
	const loops, lines = 3, 20_000
	var all sync.WaitGroup
	for loop := range loops {
		b := a.newBuffer()
		r := rand.New(rand.NewPCG(1, uint64(loop)))
		all.Go(func() {
			for i := range lines {
				n := r.IntN(200)
				if i%1000 == 0 {
					n = r.IntN(blockBytes - 100)
				}
				line := fmt.Sprintf("%d %d %s\n", loop, i, strings.Repeat("x", n))
				for !b.put(line) {
					a.of.flush(i%2 == 0)
				}
			}
		})
	}
	all.Wait()
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	next := make([]int, loops)
	for line := range strings.Lines(out.String()) {
		var loop, i int
		if _, err := fmt.Sscanf(line, "%d %d", &loop, &i); err != nil || i != next[loop] || !strings.HasSuffix(line, "\n") {
			t.Fatalf("%.60q: %v; want line %d", line, err, next[loop])
		}
		next[loop]++
	}
	for loop, n := range next {
		if n != lines {
			t.Errorf("%d lines of loop %d, want %d", n, loop, lines)
		}
	}
}

// While nothing can be written a loop fills its blocks and no more; what it drops
// is counted, and when it goes on it finds room again.
func TestLogBufferIsBounded(t *testing.T) {
	w := &gate{open: make(chan struct{})}
	a := NewAccessLog(w)
	b := a.newBuffer()
	line := strings.Repeat("y", 999) + "\n"
	kept, dropped := 0, uint64(0)
	for range 3 * maxBlocks * blockBytes / len(line) {
		if b.put(line) {
			kept++
		} else {
			dropped++
		}
	}
	if b.held > maxBlocks || kept*len(line) < (maxBlocks-1)*blockBytes || dropped == 0 || a.Dropped() != dropped {
		t.Errorf("%d blocks held, %d lines kept, %d dropped, %d counted", b.held, kept, dropped, a.Dropped())
	}
	close(w.open)
	a.of.flush(true)
	if !b.put(line) {
		t.Error("no room after all was written")
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if w.n != (kept+1)*len(line) {
		t.Errorf("%d bytes written, want %d", w.n, (kept+1)*len(line))
	}
}

// gate is a writer that waits until it is open.
type gate struct {
	open chan struct{}
	n    int
}

func (w *gate) Write(p []byte) (int, error) {
	<-w.open
	w.n += len(p)
	return len(p), nil
}

// A loop that is written in time needs few blocks, however much it logs.
func TestLogBufferReusesBlocks(t *testing.T) {
	a := NewAccessLog(io.Discard)
	b := a.newBuffer()
	for range 50 * blockBytes / 1000 {
		if !b.put(strings.Repeat("z", 999) + "\n") {
			t.Fatal("no room")
		}
		a.of.flush(false)
	}
	if b.held > 3 {
		t.Errorf("%d blocks held", b.held)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
}

// What could not be written is counted, a torn line is ended before the next.
func TestLogBufferTornLine(t *testing.T) {
	w := &fullDisk{room: 5}
	a := NewAccessLog(w)
	b := a.newBuffer()
	b.put("one\n")
	b.put("two\n")
	a.of.flush(true)
	w.room = 100
	b.put("three\n")
	if err := a.Close(); !errors.Is(err, errFull) {
		t.Errorf("closed with %v", err)
	}
	if w.String() != "one\nt\nthree\n" || a.Dropped() != 1 {
		t.Errorf("%q, %d dropped", w.String(), a.Dropped())
	}
}

var errFull = errors.New("disk full")

// fullDisk takes so many bytes.
type fullDisk struct {
	bytes.Buffer
	room int
}

func (w *fullDisk) Write(p []byte) (int, error) {
	n := min(len(p), w.room)
	w.room -= n
	w.Buffer.Write(p[:n])
	if n < len(p) {
		return n, errFull
	}
	return n, nil
}

func TestPlain(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 3))
	for range 200_000 {
		v := make([]byte, r.IntN(30))
		for i := range v {
			if v[i] = byte(' ' + r.IntN(95)); r.IntN(20) == 0 {
				v[i] = byte(r.IntN(256))
			}
		}
		want := len(v)
		for i, b := range v {
			if b < ' ' || b == '"' || b == '\\' || b >= 0x7f {
				want = i
				break
			}
		}
		if got := plain(v); got != want {
			t.Fatalf("%q: %d, want %d", v, got, want)
		}
	}
}

func TestAppendMS(t *testing.T) {
	for _, ns := range []int64{0, 1, 499, 501, 999_499, 999_501, 1e6, 12_345_678, 61_000_000, 3600e9} {
		want := strconv.FormatFloat(float64(ns)/1e6, 'f', 3, 64)
		if got := string(appendMS(nil, ns)); got != want {
			t.Errorf("%d ns: %s, want %s", ns, got, want)
		}
	}
}

// The text of an instant does not depend on what was asked before.
func TestLogTime(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 5))
	for format, layout := range map[LogFormat]string{LogJSON: jsonTime, LogCombined: combinedTime} {
		text := newLineTime(format)
		now := time.Date(2026, 12, 31, 23, 59, 58, 0, time.Local).UnixNano()
		for range 5000 {
			if got, want := string(text.at(now)), time.Unix(0, now).Format(layout); got != want {
				t.Fatalf("%s, want %s", got, want)
			}
			now += r.Int64N(3e6) - 100
		}
	}
}
