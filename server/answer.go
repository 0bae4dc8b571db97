package server

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/server/httpfile"
)

// Handler answers requests for files on the goroutines of a server that is not ours.
// What it answers is what a Server would: the same hosts, locations, paths, plans,
// sidecars, listings, error pages and fields. It is safe for concurrent use.
//
// How the bytes move is up to that server's connections: give it a listener of
// engine.Engine.Listener.
type Handler struct{ srv *Server }

// NewHandler returns a Handler for the part of a Config that is about files: Site,
// Locations, Hosts and Log. The rest is not used.
func NewHandler(cfg Config) (*Handler, error) {
	cfg.Routes, cfg.Listen, cfg.ProxyProtocol, cfg.TLS = nil, nil, nil, TLS{}
	h := &Handler{srv: &Server{cfg: cfg}}
	if err := h.srv.prepare(); err != nil {
		return nil, err
	}
	return h, nil
}

// Close closes the roots. No request may be under way.
func (h *Handler) Close() error {
	h.srv.closeSites()
	return nil
}

// Query is a request to a Handler.
type Query struct {
	httpfile.Request            // all but the Path
	Target           string     // the path as it came, percent-encoded
	Host             string     // the field Host, or what stands for it
	Accept           string     // the field Accept
	Client           netip.Addr // zero: it came through a Unix socket
}

// Answer is the response to one request. It belongs to one goroutine.
type Answer struct {
	h    *Handler
	q    *Query
	at   *place
	plan httpfile.Plan
	file *os.File // of the plan's segments; nil: none
	stat unix.Stat_t
	rest []httpfile.Segment // to be read by Read
	head string
}

// ErrFileChanged is returned by Answer.WriteTo and Answer.Read if the file has changed
// since the response began. The client must not take what it has got for the whole:
// the connection is to be cut.
var ErrFileChanged = errors.New("the file has changed")

// Answer decides the response to a request, for servers that Serve and package
// nethttp are not for. The caller closes the Answer; q must not change before.
func (h *Handler) Answer(q *Query) *Answer {
	a := &Answer{h: h, q: q}
	now := time.Now()
	a.decide(now.UnixNano())
	a.usePage()
	if a.plan.Extra == nil && a.at.headers != nil {
		a.plan.Extra = a.at.headers.lines(string(q.Path))
	}
	date := httpfile.AppendDate(nil, now.Unix())
	a.head = string(a.plan.AppendHead(nil, date, httpfile.ConnImplied))
	a.rest = a.plan.Segments()
	return a
}

// decide fills the plan and opens its file.
func (a *Answer) decide(now int64) {
	q := a.q
	if q.Target == "*" {
		a.locate(nil)
		a.plan.Decline(&q.Request, a.at.policy)
		return
	}
	path, err := httpfile.NormalizePath(nil, []byte(q.Target))
	a.locate(path)
	if err != nil {
		a.failWith(http.StatusBadRequest)
		return
	}
	q.Path = path
	switch {
	case a.at.access != nil && !a.at.access.Allows(q.Client, !q.Client.IsValid()):
		a.failWith(http.StatusForbidden)
	case q.Method != httpfile.MethodGet && q.Method != httpfile.MethodHead:
		a.plan.Decline(&q.Request, a.at.policy)
	case a.at.astray:
		a.failWith(http.StatusMisdirectedRequest)
	case a.at.root == nil || a.at.policy.Hidden(path):
		a.fail(syscall.ENOENT)
	default:
		a.find(string(path), now)
	}
}

// locate finds the place of the request, for a normalised path; nil: that of its host.
func (a *Answer) locate(path []byte) {
	var name []byte
	a.at = a.h.srv.sites.find(&name, []byte(a.q.Host), path)
	if !a.at.precompressed {
		a.q.AcceptEncoding = nil
	}
}

func (a *Answer) fail(e syscall.Errno) { a.failWith(httpfile.StatusOfErrno(e)) }

func (a *Answer) failWith(status int) { a.plan.Fail(status, &a.q.Request, a.at.policy) }

// find opens what a path names: of a directory its index.
func (a *Answer) find(path string, now int64) {
	if strings.HasSuffix(path, "/") {
		a.findIndex(path, now)
		return
	}
	switch e := a.open(path); {
	case e == 0:
		a.represent(path, now)
	case e == syscall.EISDIR, e == syscall.ENOENT && a.leadsBelow():
		a.plan.RedirectDir(&a.q.Request, a.at.policy)
	default:
		a.fail(e)
	}
}

// leadsBelow reports whether the path of the request is that of a location but for
// the slash at its end.
func (a *Answer) leadsBelow() bool {
	var name []byte
	return a.at.site.host(&name, []byte(a.q.Host)).below(a.q.Path)
}

// findIndex answers for a directory.
func (a *Answer) findIndex(path string, now int64) {
	for _, index := range a.at.index {
		switch e := a.open(path + index); e {
		case 0:
			a.represent(path+index, now)
			return
		case syscall.ENOENT, syscall.EISDIR:
		default:
			a.fail(e)
			return
		}
	}
	if a.at.listing {
		a.list(path)
		return
	}
	name := path[a.at.skip:]
	if name == "" {
		name = "."
	}
	// The slash at the end of name makes a file ENOTDIR: nothing is ever open.
	if o := a.at.root.Open(name, false); o.Err != 0 {
		a.fail(o.Err)
		return
	}
	a.fail(syscall.EACCES)
}

func (a *Answer) list(path string) {
	view, ok := parseView(string(a.q.Query))
	if !ok {
		a.fail(syscall.ENOENT)
		return
	}
	srv := a.h.srv
	srv.listings <- struct{}{}
	defer func() { <-srv.listings }()
	l, e := a.at.makeListing(path, view)
	if e != 0 {
		a.fail(e)
		return
	}
	t := &listTask{path: path, view: view, json: prefersJSON(a.q.Accept)}
	if err := t.render(l); err != nil {
		srv.cfg.Log.Error("listing not rendered", "path", path, "err", err)
		a.fail(syscall.EIO)
		return
	}
	a.plan.Content(&a.q.Request, a.at.policy, t.typ, t.body)
	a.plan.Extra = addMissing(t.extra, a.at.headers.lines(path))
}

// open opens the file of a path in place of the one that is open.
func (a *Answer) open(path string) syscall.Errno { return a.openName(a.at.root, path[a.at.skip:]) }

func (a *Answer) openName(root *engine.Root, name string) syscall.Errno {
	o := root.Open(name, false)
	switch {
	case o.Err != 0:
		return o.Err
	case o.FD < 0 && o.Stat.Mode&unix.S_IFMT == unix.S_IFDIR:
		return syscall.EISDIR
	case o.FD < 0:
		return syscall.ENXIO
	}
	_ = a.Close() // it was only read
	a.file, a.stat = os.NewFile(uintptr(o.FD), name), o.Stat
	return 0
}

// facts are those of the open file, which is that of a path in p or its sidecar.
func (a *Answer) facts(p *place, path string, k httpfile.Coding) *httpfile.Facts {
	return p.policy.MakeFacts(httpfile.File{
		Path: path, Size: a.stat.Size, MtimeNs: a.stat.Mtim.Nano(),
		Coding: k, Negotiable: p.precompressed && mayBeCoded(path),
	})
}

// represent plans the answer with the open file, or with a sidecar of it.
func (a *Answer) represent(path string, now int64) {
	k := httpfile.Identity
	if a.q.AcceptEncoding != nil && mayBeCoded(path) {
		if k = a.negotiate(path); k == httpfile.NotAcceptable {
			a.failWith(http.StatusNotAcceptable)
			return
		}
	}
	var e httpfile.Entropy
	if a.q.Range != nil {
		e = httpfile.Entropy{rand.Uint64(), rand.Uint64()}
	}
	a.plan.Decide(&a.q.Request, a.facts(a.at, path, k), now, e)
	if a.at.headers != nil {
		a.plan.Extra = a.at.headers.lines(path)
	}
}

// negotiate chooses among the open file and its sidecars, and opens what it
// chooses: the one that the client likes best, then the next.
func (a *Answer) negotiate(path string) httpfile.Coding {
	source := a.stat.Mtim.Nano()
	avail := append([]httpfile.Coding(nil), httpfile.ServerOrder...)
	for {
		k := httpfile.Negotiate(a.q.AcceptEncoding, avail)
		if k == httpfile.Identity {
			return k
		}
		asked := k
		if k == httpfile.NotAcceptable { // unless there is nothing to choose from
			asked = avail[0]
		}
		side := Answer{at: a.at}
		if side.open(path+asked.Ext()) != 0 || !httpfile.SidecarFresh(source, side.stat.Mtim.Nano()) {
			_ = side.Close() // it was only read
			avail = without(avail, asked)
			continue
		}
		_ = a.Close()
		a.file, a.stat = side.file, side.stat
		return k
	}
}

// usePage puts the page of the configuration into a failure. One that cannot be
// had leaves the short text.
func (a *Answer) usePage() {
	if a.plan.Status < http.StatusBadRequest {
		return
	}
	_ = a.Close() // a planned failure sends nothing of the file
	page := a.at.pages[a.plan.Status]
	if page != nil && a.openName(page.place.root, page.name) == 0 {
		a.plan.UsePage(&a.q.Request, a.facts(page.place, string(page.path), httpfile.Identity))
	}
}

// Close closes the file.
func (a *Answer) Close() error {
	if a.file == nil {
		return nil
	}
	f := a.file
	a.file = nil
	return f.Close()
}

// Status returns the status code.
func (a *Answer) Status() int { return a.plan.Status }

// ContentLength returns the length of the body in bytes, -1 if the response has
// none (204, 304). To a HEAD it is that of the GET.
func (a *Answer) ContentLength() int64 { return a.plan.ContentLength }

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

// tailBytes of a file are sent after it was looked at once more, so that a body of
// mixed versions never gets its last bytes.
const tailBytes = 1 << 10

// WriteTo writes the body. Ranges of the file are copied as io.LimitedReader of
// an *os.File, which connections know to send without copying. What is in the
// buffer of a bufio.Writer is flushed before.
func (a *Answer) WriteTo(w io.Writer) (n int64, err error) {
	for len(a.rest) > 0 && err == nil {
		var k int64
		s := a.rest[0]
		a.rest = a.rest[1:]
		if s.Kind == httpfile.SegmentMemory {
			k, err = writeAll(w, s.Mem)
		} else {
			k, err = a.writeRange(w, s)
		}
		n += k
	}
	return n, err
}

func writeAll(w io.Writer, p []byte) (int64, error) {
	n, err := w.Write(p)
	return int64(n), err
}

// writeRange writes a range of the file, of which the end goes through memory.
func (a *Answer) writeRange(w io.Writer, s httpfile.Segment) (n int64, err error) {
	if bulk := s.N - tailBytes; bulk > 0 {
		if b, ok := w.(interface{ Flush() error }); ok {
			if err := b.Flush(); err != nil {
				return 0, err
			}
		}
		if _, err := a.file.Seek(s.Off, io.SeekStart); err != nil {
			return 0, err
		}
		n, err = io.CopyN(w, a.file, bulk)
		if errors.Is(err, io.EOF) {
			err = ErrFileChanged
		}
		if err != nil {
			return n, err
		}
		s.Off, s.N = s.Off+n, s.N-n
	}
	var buf [tailBytes]byte
	tail := buf[:s.N]
	if err := a.readAt(tail, s.Off); err != nil {
		return n, err
	}
	k, err := writeAll(w, tail)
	return n + k, err
}

// readAt reads all of p, and checks that the file is still the same.
func (a *Answer) readAt(p []byte, off int64) error {
	if _, err := a.file.ReadAt(p, off); err != nil {
		if errors.Is(err, io.EOF) {
			return ErrFileChanged
		}
		return fmt.Errorf("read: %w", err)
	}
	st, err := a.file.Stat()
	if err != nil {
		return fmt.Errorf("stat: %w", err)
	}
	if st.Size() != a.stat.Size || st.ModTime().UnixNano() != a.stat.Mtim.Nano() {
		return ErrFileChanged
	}
	return nil
}

// Read reads the body, for those who want to do something with it other than send it.
func (a *Answer) Read(p []byte) (int, error) {
	for len(a.rest) > 0 {
		s := &a.rest[0]
		k := int(min(int64(len(p)), s.N))
		if k == 0 && s.N > 0 {
			return 0, nil
		}
		if s.Kind == httpfile.SegmentMemory {
			copy(p, s.Mem[:k])
			s.Mem = s.Mem[k:]
		} else if err := a.readAt(p[:k], s.Off); err != nil {
			return 0, err
		}
		s.Off, s.N = s.Off+int64(k), s.N-int64(k)
		if s.N == 0 {
			a.rest = a.rest[1:]
		}
		if k > 0 {
			return k, nil
		}
	}
	return 0, io.EOF
}
