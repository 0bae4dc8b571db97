package compress

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/engine/openfile"
	"github.com/fserve/fserve/server/httpfile"
)

// place is a root with files.
type place struct {
	t    *testing.T
	dir  string
	root *openfile.Root
}

func newPlace(t *testing.T) *place {
	t.Helper()
	p := &place{t: t, dir: t.TempDir()}
	var err error
	if p.root, err = openfile.OpenRoot(p.dir, openfile.SymlinksInside); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.root.Close() })
	return p
}

// old is a time of modification of which nothing is under way any more.
var old = time.Now().Add(-time.Hour)

// write writes a file in place, as one that is old.
func (p *place) write(name, content string) {
	p.t.Helper()
	path := filepath.Join(p.dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		p.t.Fatal(err)
	}
	if err := os.Chtimes(path, old, old); err != nil {
		p.t.Fatal(err)
	}
}

// source returns the version that there is.
func (p *place) source(name string, k httpfile.Coding) *Source {
	p.t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(p.dir, name), &st); err != nil {
		p.t.Fatal(err)
	}
	return &Source{Root: p.root, Name: name, Inode: st.Ino, Size: st.Size, MtimeNs: st.Mtim.Nano(), CtimeNs: st.Ctim.Nano(), Coding: k, Level: 5}
}

// get waits for a form.
func (c *Cache) get(t *testing.T, s *Source) *Body {
	t.Helper()
	got := make(chan *Body, 1)
	if c.Begin(s, func(b *Body) { got <- b }) == nil {
		t.Fatal("too many wait")
	}
	return <-got
}

// text returns what the form of a file stands for.
func text(t *testing.T, b *Body) string {
	t.Helper()
	var r io.Reader = bytes.NewReader(b.Bytes())
	if b.Of().Coding == httpfile.Gzip {
		z, err := gzip.NewReader(r)
		if err != nil {
			t.Fatal(err)
		}
		r = z
	} else {
		z, err := zstd.NewReader(r)
		if err != nil {
			t.Fatal(err)
		}
		defer z.Close()
		r = z
	}
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestEncode(t *testing.T) {
	content := []byte(strings.Repeat("some text ", 100_000))
	for _, k := range httpfile.MadeOrder {
		for level := 1; level <= 9; level++ {
			for range 2 { // the second time with memory of the first
				coded, err := Encode(content, k, level)
				if err != nil {
					t.Fatal(err)
				}
				if got := text(t, &Body{bytes: coded, of: Source{Coding: k}}); got != string(content) {
					t.Errorf("%v, level %d: %d bytes are others", k, level, len(got))
				}
			}
		}
	}
}

// What a form costs, of JSON as programs write it.
func BenchmarkEncode(b *testing.B) {
	var text strings.Builder
	for i := 0; text.Len() < 256<<10; i++ {
		fmt.Fprintf(&text, `{"id":%d,"name":"file-%x.tar.gz","size":%d,"mtime":"2026-11-%02dT10:20:30Z"},`+"\n", i, i*2654435761, i*i%1_000_003, i%28+1)
	}
	content := []byte(text.String())
	for _, k := range httpfile.MadeOrder {
		for _, level := range []int{1, 5, 9} {
			b.Run(fmt.Sprintf("%v/%d", k, level), func(b *testing.B) {
				b.SetBytes(int64(len(content)))
				n := 0
				for range b.N {
					coded, err := Encode(content, k, level)
					if err != nil {
						b.Fatal(err)
					}
					n = len(coded)
				}
				b.ReportMetric(100*float64(n)/float64(len(content)), "%")
			})
		}
	}
}

// Who asks while a form is made gets that one; who leaves is told at once, but for the first.
func TestJoin(t *testing.T) {
	p, c := newPlace(t), NewCache(1<<20, slog.Default())
	p.write("f", strings.Repeat("text ", 1000))
	s := p.source("f", httpfile.Gzip)
	for range maxMaking { // nobody gets a turn
		c.making <- struct{}{}
	}
	got := make(chan *Body, 10)
	done := func(b *Body) { got <- b }
	first, second, third := c.Begin(s, done), c.Begin(s, done), c.Begin(s, done)
	if first == nil || second == nil || third == nil || c.joined != 2 {
		t.Fatalf("%d have joined", c.joined)
	}
	first.Leave()
	second.Leave()
	second.Leave()
	if b := <-got; b != nil || len(got) > 0 || c.joined != 1 {
		t.Errorf("%v, and %d more; %d have joined", b, len(got), c.joined)
	}
	c.joined = maxJoined
	if c.Begin(s, done) != nil {
		t.Error("there was room for one more")
	}
	c.joined = 1
	<-c.making
	a, b := <-got, <-got
	if a == nil || a != b || text(t, a) != strings.Repeat("text ", 1000) {
		t.Fatalf("%v and %v", a, b)
	}
	third.Leave()
	if len(got) > 0 || c.joined != 0 || c.Stats().Made != 1 {
		t.Errorf("%d more, %d have joined, %d made", len(got), c.joined, c.Stats().Made)
	}
	found := c.Find(s)
	if found != a || a.refs.Load() != 4 {
		t.Errorf("found %v, %d use it", found, a.refs.Load())
	}
	for range 3 {
		a.Release()
	}
}

// What is not asked for goes first, what is being sent counts as long as that takes, and nothing
// exceeds the bound.
func TestBound(t *testing.T) {
	p, c := newPlace(t), NewCache(1<<20, slog.Default())
	content := strings.Repeat("text ", 1000)
	for _, name := range []string{"a", "b", "c"} {
		p.write(name, content)
	}
	at := func(name string) *Source { return p.source(name, httpfile.Zstd) }
	a := c.get(t, at("a"))
	c.Resize(2 * a.cost)
	b := c.get(t, at("b"))
	if a == nil || b == nil || c.Stats().Held != 2*a.cost {
		t.Fatalf("%v %v %+v", a, b, c.Stats())
	}
	if c.get(t, at("c")) != nil || c.Stats().Full != 1 {
		t.Errorf("there was room for a third: %+v", c.Stats())
	}
	if string(a.Bytes()) == "" || string(b.Bytes()) == "" {
		t.Error("what is being sent is gone")
	}
	a.Release()
	b.Release()
	if a.Retain() {
		a.Release()
	} else {
		t.Error("what was being sent has made room")
	}
	c.get(t, at("c")).Release()
	if c.Find(at("b")) != nil {
		t.Error("b is there, which nobody asked for")
	}
	for _, name := range []string{"a", "c"} {
		c.Find(at(name)).Release()
	}
	if b.Retain() {
		t.Error("what has made room is retained")
	}
	c.Resize(0)
	if s := c.Stats(); s.Held != 0 || len(c.bodies) != 0 {
		t.Errorf("%+v", s)
	}
}

// A form is of one version of a file, and of the one that was asked for.
func TestChanges(t *testing.T) {
	p, c := newPlace(t), NewCache(1<<20, slog.Default())
	versions := []string{strings.Repeat("a", 200_000), strings.Repeat("b", 200_000)}
	p.write("f", versions[0])
	before := p.source("f", httpfile.Gzip)
	p.write("f", versions[1]) // of the same size and time
	if b := c.get(t, before); b != nil {
		t.Error("an old version was made of the new one")
	}
	if err := os.Chtimes(filepath.Join(p.dir, "f"), time.Time{}, time.Now()); err != nil {
		t.Fatal(err)
	}
	young := p.source("f", httpfile.Gzip)
	if c.get(t, young) != nil {
		t.Error("a file that has changed just now was compressed")
	}
	if err := os.Remove(filepath.Join(p.dir, "f")); err != nil {
		t.Fatal(err)
	}
	if c.get(t, young) != nil || c.Stats().Changed != 3 || c.Stats().Failed != 0 {
		t.Errorf("%+v", c.Stats())
	}

	p.write("f", versions[0])
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		path := filepath.Join(p.dir, "f")
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			_ = os.WriteFile(path, []byte(versions[i%2]), 0o600)
			_ = os.Chtimes(path, old, old)
		}
	}()
	for range 300 {
		s := p.source("f", httpfile.Gzip)
		if s.Size == 0 {
			continue
		}
		if b := c.get(t, s); b != nil {
			if got := text(t, b); got != versions[0] && got != versions[1] {
				t.Errorf("%d bytes of more than one version", len(got))
			}
			b.Release()
		}
	}
	close(stop)
	<-stopped
}

// What gains nothing is known to, and costs little.
func TestUseless(t *testing.T) {
	p, c := newPlace(t), NewCache(1<<20, slog.Default())
	noise := make([]byte, 10_000)
	for i, x := 0, uint32(1); i < len(noise); i++ {
		x = x*1664525 + 1013904223
		noise[i] = byte(x >> 24)
	}
	p.write("f", string(noise))
	for range 2 {
		b := c.get(t, p.source("f", httpfile.Gzip))
		if b == nil || !b.Useless() || b.Bytes() != nil {
			t.Fatalf("%+v", b)
		}
		b.Release()
	}
	if s := c.Stats(); s.Made != 1 || s.Held != entryCost {
		t.Errorf("%+v", s)
	}
	if c.get(t, &Source{Root: p.root, Name: "../x"}) != nil {
		t.Error("a file that is not there")
	}
}

// A form that is larger than the cache takes the place of none, and is made once; again when the cache is larger.
func TestTooLargeForCache(t *testing.T) {
	p, c := newPlace(t), NewCache(1<<20, slog.Default())
	p.write("small", strings.Repeat("text ", 1000))
	p.write("large", noiseText(200_000))
	small := c.get(t, p.source("small", httpfile.Zstd))
	small.Release()
	c.Resize(4 * small.cost)
	for range 3 {
		b := c.get(t, p.source("large", httpfile.Zstd))
		if !b.Useless() || c.Stats().Full != 1 || c.Stats().Made != 1 {
			t.Fatalf("%+v, %+v", b, c.Stats())
		}
		b.Release()
	}
	if !small.Retain() {
		t.Error("what is kept has made room in vain")
	}
	c.Resize(1 << 20)
	b := c.get(t, p.source("large", httpfile.Zstd))
	if b.Useless() || c.Stats().Made != 2 || c.Stats().Held != small.cost+b.cost {
		t.Errorf("%+v", c.Stats())
	}
}

// noiseText is n bytes of two kinds, which half the room would do for.
func noiseText(n int) string {
	b, x := make([]byte, n), uint32(1)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = 'a' + byte(x>>28)
	}
	return string(b)
}

// A file is read when it is its turn: those that wait take no memory.
func TestTurn(t *testing.T) {
	p, c := newPlace(t), NewCache(1<<20, slog.Default())
	const most = 64 << 20
	p.write("f", "")
	if err := os.Truncate(filepath.Join(p.dir, "f"), most); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(filepath.Join(p.dir, "f"), old, old); err != nil {
		t.Fatal(err)
	}
	for range maxMaking { // nobody gets a turn
		c.making <- struct{}{}
	}
	before := allocated()
	made := make(chan *Body, 1)
	c.Begin(p.source("f", httpfile.Zstd), func(b *Body) { made <- b })
	for range 1000 { // of what might be done meanwhile
		runtime.Gosched()
		if allocated()-before >= most {
			t.Fatal("it is in memory already")
		}
	}
	for range maxMaking {
		<-c.making
	}
	if b := <-made; b == nil || c.Stats().In != most || allocated()-before < most {
		t.Errorf("%v, %+v", b, c.Stats())
	}
}

// allocated is how many bytes were ever allocated.
func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}
