package difftest

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/internal/testenv"
)

const (
	downloads = 64
	changes   = 1000
	// A change waits for so many responses since the one before, so that
	// changes and downloads keep pace with each other.
	perChange = 6
	// No more changes are begun after that.
	changing = 18 * time.Second
)

// TestNoMixedVersions downloads files while they change. What is promised:
//
//   - A file that is replaced by rename is sent whole, always, and is one version.
//   - A file that is truncated and rewritten gives one version, or the beginning of
//     one (which it was for a moment; its tag is weak, or of an empty file), or a response
//     that is cut off. Never a mix.
//   - A file that is overwritten in place gives a body that looks whole only if its
//     size and time were the same when it was opened and when the last of its pages
//     went to the kernel. Pages that wait in the socket are the file's own:
//     what is overwritten after that check, while the client has not yet read
//     them, shows, and no server that sends without copying can know. Files of up to
//     8 KiB are copied: of them there is never a mix under a strong tag.
//   - But for that a strong tag belongs to one version, of which it gives every byte.
//   - A tag gives 304 no longer than a second after its version is gone.
func TestNoMixedVersions(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		root := t.TempDir()
		total, each := changes, 5
		if testing.Short() {
			total, each = changes/5, 2
		}
		files := makeVersioned(t, root, each)
		addr := serve(t, d, root, 2)

		answered := make(chan struct{}, downloads)
		stop := make(chan struct{})
		var clients sync.WaitGroup
		for i := range downloads {
			clients.Go(func() {
				c := &downloader{t: t, addr: addr, rand: rand.New(rand.NewPCG(1, uint64(i))), small: i%2 == 0, tags: make(map[*versioned]string)}
				c.run(files, answered, stop)
			})
		}
		made := changeAll(t, files, total, answered)
		close(stop)
		clients.Wait()
		report(t, files, made)
	})
}

// changeAll makes n changes, file after file, and returns how many it had time for.
func changeAll(t *testing.T, files []*versioned, n int, answered <-chan struct{}) int {
	begin := time.Now()
	buf := make([]byte, 0, 1<<20)
	var err error
	for i := range n {
		for range perChange {
			<-answered
		}
		if time.Since(begin) > changing || t.Failed() {
			return i
		}
		if buf, err = files[i%len(files)].change(buf); err != nil {
			t.Errorf("change %d: %v", i, err)
			return i
		}
	}
	return n
}

// report logs what was seen, and fails the test if it cannot have found anything.
func report(t *testing.T, files []*versioned, made int) {
	t.Logf("%d changes", made)
	same := 0
	for h := range numHow {
		var n, whole, cut, partial, unsure, versions int
		for _, f := range files {
			if f.how == h {
				whole, cut, partial, unsure = whole+f.whole, cut+f.cut, partial+f.partial, unsure+f.unsure
				n, same, versions = n+1, same+f.same, versions+len(f.byTag)
			}
		}
		t.Logf("%v: %d whole bodies of %d versions, %d cut off, %d half written when opened, %d overwritten on their way",
			h, whole, versions, cut, partial, unsure)
		if whole == 0 || versions < n/2 {
			t.Errorf("%v: %d whole bodies of %d versions are no test", h, whole, versions)
		}
	}
	if same == 0 {
		t.Error("nothing was answered by 304")
	}
}

// downloader is one client with one connection at a time.
type downloader struct {
	t     *testing.T
	addr  string
	rand  *rand.Rand
	small bool // its receive buffer: the server waits for it in mid-response
	conn  net.Conn
	r     *bufio.Reader
	tags  map[*versioned]string // a strong tag that a file had some time ago
}

// run downloads until it is stopped.
func (c *downloader) run(files []*versioned, answered chan<- struct{}, stop <-chan struct{}) {
	defer c.close()
	for {
		f := files[c.rand.IntN(len(files))]
		if err := c.get(f); err != nil {
			c.t.Errorf("%s: %v", f.name, err)
			c.close()
		}
		select {
		case <-stop:
			return
		case answered <- struct{}{}:
		}
	}
}

func (c *downloader) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// get makes one request and judges what comes back.
func (c *downloader) get(f *versioned) error {
	if c.conn == nil {
		if err := c.dial(); err != nil {
			return err
		}
	}
	if err := c.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	tag, condition := c.tags[f], ""
	if tag != "" && c.rand.IntN(3) == 0 {
		condition = "If-None-Match: " + tag + "\r\n"
	}
	sent := time.Now()
	if _, err := fmt.Fprintf(c.conn, "GET %s HTTP/1.1\r\nHost: h\r\n%s\r\n", f.name, condition); err != nil {
		if !ended(err) {
			return err
		}
		c.close() // the file of the response before has been recalled
		return nil
	}
	p, err := readResponse(c.r, http.MethodGet)
	switch {
	case err != nil && f.how != renamed && ended(err):
		c.close()
		f.count(&f.cut) // perhaps before the head left: a reset takes back what was not sent
		return nil
	case err != nil:
		return fmt.Errorf("cut off: %w", err)
	case p.status == http.StatusNotModified && condition != "":
		return c.notModified(f, tag, sent)
	case p.status != http.StatusOK:
		return fmt.Errorf("status %d", p.status)
	case f.how == overwritten:
		return c.checkOverwritten(f, p, sent)
	}
	return c.check(f, p, sent)
}

func (c *downloader) dial() (err error) {
	if c.conn, err = net.DialTimeout("tcp", c.addr, patience); err != nil {
		return err
	}
	if c.small {
		if err = c.conn.(*net.TCPConn).SetReadBuffer(16 << 10); err != nil {
			return err
		}
	}
	c.r = bufio.NewReaderSize(c.conn, 32<<10)
	return nil
}

func (c *downloader) notModified(f *versioned, tag string, sent time.Time) error {
	f.mu.Lock()
	v := f.byTag[tag]
	f.mu.Unlock()
	f.count(&f.same)
	if f.isOver(v, sent) {
		return fmt.Errorf("304 to the tag of version %d, which is long gone", v)
	}
	return nil
}

// check judges a body that looks whole, of a file whose pages are not
// overwritten.
func (c *downloader) check(f *versioned, p *response, sent time.Time) error {
	tag := p.get("ETag")
	between := isBetween(tag)
	v, whole, err := f.match(p.body)
	switch {
	case err != nil:
		return fmt.Errorf("a body with the tag %s is a mix: %w", tag, err)
	case f.how == rewritten && (between || len(p.body) == 0):
		// Between the size becoming 0 and the time becoming now, fstat(2) sees
		// an empty file with the old time. Its tag says the size, so it is right.
		f.count(&f.partial)
		return nil
	case between:
		return fmt.Errorf("version %d, which was written elsewhere, has the tag %s of a state between", v, tag)
	case !whole:
		return fmt.Errorf("%d bytes of version %d with the strong tag %s", len(p.body), v, tag)
	}
	return c.accept(f, v, tag, sent)
}

// checkOverwritten judges a body of a file that is overwritten in place. The tag
// says which version it was when it was opened: no byte is older, and one is newer
// only if it was overwritten on its way.
func (c *downloader) checkOverwritten(f *versioned, p *response, sent time.Time) error {
	tag := p.get("ETag")
	begun := f.lastBegun() // after the last byte was read
	if int64(len(p.body)) != f.size {
		return fmt.Errorf("%d bytes of %d", len(p.body), f.size)
	}
	if isBetween(tag) {
		f.count(&f.partial) // it was opened while it was overwritten
		return nil
	}
	v, err := f.versionOf(tag)
	if err != nil {
		return err
	}
	head, _, err := f.match(p.body)
	if err == nil && head == v {
		return c.accept(f, v, tag, sent)
	}
	if f.size <= 8<<10 || begun <= v || head < v {
		return fmt.Errorf("a mix of versions %d and %d, when %d was the last to be begun: %w", head, v, begun, err)
	}
	f.count(&f.unsure)
	return f.stale(p.body, v)
}

// accept notes a body that is one version exactly.
func (c *downloader) accept(f *versioned, v int, tag string, sent time.Time) error {
	if f.isOver(v, sent) {
		return fmt.Errorf("version %d, which is long gone", v)
	}
	f.count(&f.whole)
	if c.tags[f] == "" || c.rand.IntN(4) == 0 {
		c.tags[f] = tag
	}
	return f.tagged(tag, v)
}

// TestOldTagIsModified asks with the tag of the version before, whose time of
// modification differs by a nanosecond, whose date does not. As soon as
// the new version is seen the old tag is worth nothing.
func TestOldTagIsModified(t *testing.T) {
	onBoth(t, func(t *testing.T, d engine.DriverKind) {
		root := t.TempDir()
		var files []*versioned
		for _, f := range makeVersioned(t, root, 1) {
			if f.how != rewritten { // which gets longer
				files = append(files, f)
			}
		}
		addr := serve(t, d, root, 1)
		c := &downloader{t: t, addr: addr, rand: rand.New(rand.NewPCG(2, 2))}
		defer c.close()
		ask := func(f *versioned, field string) *response {
			if c.conn == nil {
				if err := c.dial(); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := fmt.Fprintf(c.conn, "GET %s HTTP/1.1\r\nHost: h\r\n%s\r\n", f.name, field); err != nil {
				t.Fatal(err)
			}
			p, err := readResponse(c.r, http.MethodGet)
			if err != nil { // cut off: the cache has not looked at the file yet
				c.close()
				return nil
			}
			return p
		}
		old := make(map[*versioned]string)
		for _, f := range files {
			old[f] = ask(f, "").get("ETag")
			if _, err := f.change(nil); err != nil {
				t.Fatal(err)
			}
		}
		for _, f := range files {
			condition := "If-None-Match: " + old[f] + "\r\n"
			seen := testenv.Eventually(patience, func() bool {
				p := ask(f, "")
				return p != nil && p.get("ETag") != old[f]
			})
			if !seen {
				t.Errorf("%s: the new version is not seen within %v", f.name, patience)
				continue
			}
			p := ask(f, condition)
			if p == nil || p.status != http.StatusOK {
				t.Errorf("%s: %+v to the tag of the version before, want 200", f.name, p)
				continue
			}
			if v, whole, err := f.match(p.body); v != 1 || !whole || err != nil {
				t.Errorf("%s: version %d, whole: %v, %v", f.name, v, whole, err)
			}
		}
	})
}
