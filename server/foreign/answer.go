// Package foreign answers requests for files on the goroutines of servers that are not
// ours: those of net/http and of stock fasthttp. Its answers are those of package
// resolve; files are opened by waiting for the disk.
package foreign

import (
	"iter"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/engine/openfile"
	"github.com/fserve/fserve/server/admit"
	"github.com/fserve/fserve/server/auth"
	"github.com/fserve/fserve/server/compress"
	"github.com/fserve/fserve/server/httpfile"
	"github.com/fserve/fserve/server/listing"
	"github.com/fserve/fserve/server/record"
	"github.com/fserve/fserve/server/resolve"
	"github.com/fserve/fserve/server/site"
)

// Handler answers requests for files on the goroutines of a server that is not ours.
// What it answers is what a Server would: the same hosts, locations, paths, plans,
// sidecars, listings, error pages and fields. It is safe for concurrent use.
//
// How the bytes move is up to that server's connections: give it a listener of
// engine.Engine.Listener.
type Handler struct {
	set      *site.Set
	listings *listing.Cache
	forms    *compress.Cache
	faults   *record.Faults
	hashes   sync.Map // of files of an FS: *hashed by hashKey
	closing  sync.Once

	passwords auth.Checker
	proving   sync.Mutex
	verdicts  auth.Verdicts // under proving
	admission *admit.Control
}

// New returns a Handler for the places of set, which is the Handler's from now on.
func New(set *site.Set, admission *admit.Control, forms *compress.Cache, log *slog.Logger) *Handler {
	return &Handler{set: set, listings: listing.NewCache(log), forms: forms, faults: record.NewFaults(log), admission: admission}
}

// Close closes the roots. No request may be under way.
func (h *Handler) Close() error {
	h.closing.Do(h.set.Release)
	return nil
}

// Query is a request to a Handler.
type Query struct {
	httpfile.Request            // all but the Path
	Target           string     // the path as it came, percent-encoded
	Host             string     // the field Host, or what stands for it
	Client           netip.Addr // zero: not known
	Unix             bool       // it came through a Unix socket
	Encrypted        bool       // it came by TLS

	Referer, UserAgent, Authorization, APIKey string // fields; empty: the request has none
	Cookie                                    string // likewise
	Twice                                     bool   // Authorization or X-API-Key is there twice

	Gone <-chan struct{} // closed when the client is; nil: nobody knows
}

// Answer is the response to one request. It belongs to one goroutine.
type Answer struct {
	resolved resolve.Answer
	caller   auth.Caller
	known    bool                  // the caller is
	charged  bool                  // the rate of the client has counted the request
	grant    admit.Grant           // by which it is counted until Close
	files    [resolve.NumKind]file // that were opened for it; from the end on the chosen one
	head     string
	rest     []httpfile.Segment // to be read by Read
	page     *listing.Page      // that is the body; nil: none
	form     *compress.Body     // likewise
}

// file is an open file; nil: there is none.
type file struct {
	content
	opened  openfile.Opened
	growing bool
}

// Answer decides the response to a request, for servers that Serve and package
// nethttp are not for. The caller closes the Answer; what q refers to must not change
// before.
func (h *Handler) Answer(q *Query) *Answer {
	a := &Answer{}
	step := h.enter(a, q)
	if step == resolve.Route {
		step = a.resolved.File()
	}
	h.drive(a, q, step)
	return a
}

// enter finds the place of a request, and decides whether it is answered there: Route.
func (h *Handler) enter(a *Answer, q *Query) resolve.Step {
	r := &a.resolved
	r.Request = q.Request
	r.Encrypted, r.At = q.Encrypted, -1
	r.Begin(h.set, []byte(q.Host), 0)
	var path []byte
	if q.Target != "*" {
		path = []byte(q.Target)
	}
	step := r.Start(path)
	if step == resolve.Identify {
		step = h.identify(a, q)
	}
	if step == resolve.Route {
		step = h.admit(a, q)
	}
	return step
}

// drive goes on from a step to the whole answer.
func (h *Handler) drive(a *Answer, q *Query, step resolve.Step) {
	r, now := &a.resolved, time.Now()
	for step != resolve.Done {
		h.noteFault(r, q.Client)
		switch step {
		case resolve.Identify:
			step = h.identify(a, q)
		case resolve.Route:
			step = r.File()
		case resolve.Open:
			step = h.open(a, &r.Want)
		case resolve.List:
			step = h.list(a)
		case resolve.Compress:
			step = r.Compressed(h.compress(resolve.SourceOf(r)))
		case resolve.Send:
			if r.Chosen == resolve.Made {
				a.form = r.Body
			}
			step = r.Decide(now.UnixNano(), httpfile.Entropy{rand.Uint64(), rand.Uint64()})
		}
	}
	h.noteFault(r, q.Client)
	a.closeBut(r.Chosen)
	if name := a.caller.FileName; name != nil {
		r.Plan.SaveAs(string(name))
	}
	a.head = string(r.Plan.AppendHead(nil, httpfile.AppendDate(nil, now.Unix()), httpfile.ConnImplied))
	a.rest = r.Plan.Segments()
	if r.Chosen == resolve.Made && len(a.rest) > 0 { // all of it: ranges are of files
		a.rest = []httpfile.Segment{{Kind: httpfile.SegmentMemory, Mem: a.form.Bytes(), N: int64(len(a.form.Bytes()))}}
	}
}

// noteFault tells the operator why there is no file, if that is worth it.
func (h *Handler) noteFault(r *resolve.Answer, client netip.Addr) {
	if r.Cause != 0 {
		h.faults.Note(time.Now(), r.Request.Path, client, r.Plan.Status, r.Cause)
	}
	if u := r.Unused; u.Cause != 0 {
		h.faults.Unused(time.Now(), u.Path, client, u.Cause)
	}
	if r.Refused != admit.Passed {
		h.faults.Refused(time.Now(), r.Request.Path, client, r.Plan.Status, r.Refused)
	}
	r.Cause, r.Unused, r.Refused = 0, resolve.Unused{}, admit.Passed
}

// open opens the file that the answer wants, in place of an earlier one of the kind.
func (h *Handler) open(a *Answer, w *resolve.Want) resolve.Step {
	if w.Place.FS != nil {
		return h.openIn(a, w)
	}
	name := w.Name(string(w.Key))
	p := w.WritePolicy()
	o := openWritten(w.Place.Root, name, p)
	switch {
	case o.Err != 0:
		return a.resolved.Opened(nil, o.Err)
	case o.FD < 0 && o.Stat.Mode&unix.S_IFMT == unix.S_IFDIR:
		return a.resolved.Opened(nil, syscall.EISDIR)
	case o.FD < 0:
		return a.resolved.Opened(nil, syscall.ENXIO)
	}
	f := &a.files[w.Kind]
	_ = f.close() // it was only read
	o.Do(func() { *f = file{onDisk{os.NewFile(uintptr(o.FD), name)}, o, p.Growing} })
	v := w.Version(httpfile.File{
		Size: o.Stat.Size, MtimeNs: o.Stat.Mtim.Nano(), CtimeNs: o.Stat.Ctim.Nano(), Inode: o.Stat.Ino,
		SeenNs: o.At, Indistinct: o.Indistinct, Hash: o.Hash,
	})
	return a.resolved.Opened(&v, 0)
}

// writeInterval is how often a file that is being written is asked about.
const writeInterval = 10 * time.Millisecond

// openWritten opens a file. One that is being written it waits for, or refuses, as p says.
func openWritten(r *openfile.Root, name string, p openfile.Policy) openfile.Opened {
	for begin := time.Now(); ; time.Sleep(writeInterval) {
		o := r.OpenAs(name, p)
		if o.FD < 0 || p.Growing || p.Wait == 0 || p.Wait > 0 && time.Since(time.Unix(o.Stat.Mtim.Unix())) > p.Wait {
			return o
		}
		writing, st := openfile.IsOpenForWriting(o.FD), unix.Stat_t{}
		same := unix.Fstat(int(o.FD), &st) == nil && st.Size == o.Stat.Size && st.Mtim == o.Stat.Mtim
		if !writing && same || p.Wait > 0 && time.Since(begin) > p.Wait {
			return o
		}
		_ = unix.Close(int(o.FD))
		if p.Wait < 0 && writing {
			return openfile.Opened{FD: -1, Err: syscall.ETXTBSY}
		}
	}
}

// list makes a listing, unless too many wait.
func (h *Handler) list(a *Answer) resolve.Step {
	r := &a.resolved
	dir := r.Directory()
	if dir.FS != nil {
		page, e := h.listings.Make(&dir, r.View, httpfile.PrefersJSON(r.Request.Accept))
		a.page = page
		return r.Listed(page, e)
	}
	var e syscall.Errno
	done := make(chan struct{})
	if !h.listings.Begin(&dir, r.View, httpfile.PrefersJSON(r.Request.Accept), func(p *listing.Page, err syscall.Errno) {
		a.page, e = p, err
		close(done)
	}) {
		return r.Fail(http.StatusServiceUnavailable)
	}
	<-done
	return r.Listed(a.page, e)
}

// compress returns a form, for which it waits; nil: it cannot be had.
func (h *Handler) compress(s *compress.Source) (b *compress.Body) {
	if b = h.forms.Find(s); b != nil {
		return b
	}
	done := make(chan struct{})
	if h.forms.Begin(s, func(made *compress.Body) {
		b = made
		close(done)
	}) != nil {
		<-done
	}
	return b
}

// closeBut closes the files but that of a kind.
func (a *Answer) closeBut(k resolve.Kind) {
	for i := range a.files {
		if resolve.Kind(i) != k {
			_ = a.files[i].close() // it was only read
		}
	}
}

func (f *file) close() (err error) {
	if f.content == nil {
		return nil
	}
	defer func() { f.content = nil }()
	f.opened.Do(func() { err = f.Close() })
	return err
}

// chosen returns the file of the plan's segments.
func (a *Answer) chosen() *file { return &a.files[a.resolved.Chosen] }

// Close closes the file, lets go of the listing, and ends what counts the response. It may be called again.
func (a *Answer) Close() error {
	a.grant.Release()
	a.page.Release()
	a.form.Release()
	a.page, a.form = nil, nil
	return a.chosen().close()
}

// Status returns the status code.
func (a *Answer) Status() int { return a.resolved.Plan.Status }

// ContentLength returns the length of the body in bytes, -1 if the response has
// none (204, 304). To a HEAD it is that of the GET.
func (a *Answer) ContentLength() int64 { return a.resolved.Plan.ContentLength }

// Fields returns the fields of the response but Date, which is the server's.
func (a *Answer) Fields() iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		_, lines, _ := strings.Cut(a.head, "\r\n") // the status line
		for line := range strings.SplitSeq(lines, "\r\n") {
			name, value, ok := strings.Cut(line, ": ")
			if ok && name != "Date" && !yield(name, value) {
				return
			}
		}
	}
}
