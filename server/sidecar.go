package server

import (
	"strings"
	"syscall"
	"time"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/server/httpfile"
)

// numCoding is how many representations a file can have: itself and its sidecars.
const numCoding = int(httpfile.Gzip) + 1

// sidecarFresh is how long a sidecar is believed to be missing, the time for
// which the cache believes a file to be there.
const sidecarFresh = int64(time.Second)

// packed are extensions of what is compressed already: it gets no sidecars, is
// not asked about, and does not vary.
var packed = func() map[string]bool {
	m := make(map[string]bool)
	for _, ext := range strings.Fields(`
		br gz tgz zst xz txz lz4 bz2 tbz2 lzma zip 7z rar jar war apk ipa aab cab deb rpm dmg whl crate nupkg
		jpg jpeg png gif webp avif heic jxl mp3 m4a aac ogg oga opus flac mp4 m4v mov mkv webm ogv woff woff2`) {
		m["."+ext] = true
	}
	return m
}()

// mayBeCoded reports whether the file of a path can have sidecars.
func mayBeCoded(path string) bool {
	dot := strings.LastIndexByte(path, '.')
	return dot < 0 || !packed[strings.ToLower(path[dot:])]
}

// negotiate chooses among f and its sidecars and sends one. It opens no more of
// them than it must: the one that the client likes best, then the next. What is
// missing is remembered with the version of the source, for a second.
func (s *session) negotiate(c *engine.Conn, f *engine.File, v *version, name []byte, i int) {
	if own := extraOf(c); len(own) > 0 && hasField(own, "Content-Encoding") {
		s.send(c, f, v) // the handler knows what the file is
		return
	}
	now := s.loop.Now()
	var all [numCoding]httpfile.Coding
	avail := all[:0]
	for _, k := range httpfile.ServerOrder {
		if v.gone[k] <= now {
			avail = append(avail, k)
		}
	}
	for {
		k := httpfile.Negotiate(s.req.AcceptEncoding, avail)
		if k == httpfile.Identity {
			s.send(c, f, v)
			return
		}
		asked := k
		if k == httpfile.NotAcceptable { // unless there is nothing to choose from
			asked = avail[0]
		}
		side, wait := s.sidecar(name, asked)
		switch {
		case wait:
			s.sidecarsLater(c, string(name), i, avail)
			return
		case side == nil || !httpfile.SidecarFresh(f.Mtime, side.Mtime):
			v.gone[asked] = now + sidecarFresh
			avail = without(avail, asked)
		case k == httpfile.NotAcceptable:
			s.plan.Fail(httpfile.StatusNotAcceptable, &s.req, s.srv.policy)
			s.respondPlan(c, nil)
			return
		default:
			s.send(c, side, s.version(side, name, k))
			return
		}
	}
}

// without removes k from codings, in place.
func without(codings []httpfile.Coding, k httpfile.Coding) []httpfile.Coding {
	out := codings[:0]
	for _, c := range codings {
		if c != k {
			out = append(out, c)
		}
	}
	return out
}

// sidecar returns a sidecar of the file of a name, nil if there is none. wait:
// the disk would have to be asked.
func (s *session) sidecar(name []byte, k httpfile.Coding) (side *engine.File, wait bool) {
	s.sideBuf = appendSidecarKey(s.sideBuf[:0], name, k)
	if side = s.loop.Files.Get(s.sideBuf); side != nil {
		return side, false
	}
	key := string(s.sideBuf)
	side, e := s.loop.Files.Open(s.srv.root, key, sidecarName(key))
	if e != 0 {
		return nil, e == syscall.EAGAIN
	}
	return side, false
}

// appendSidecarKey appends the name that a sidecar has in the cache. A NUL, which
// no path holds, tells it from the same file asked for by its own name: that
// has another type and another tag.
func appendSidecarKey(dst, name []byte, k httpfile.Coding) []byte {
	return append(append(append(dst, name...), k.Ext()...), 0)
}

// sidecarName returns the name to open of a key of the cache.
func sidecarName(key string) string { return key[1 : len(key)-1] }

// sidecarTask opens a file and its sidecars where that must wait for the disk.
// All that may be needed is opened at once, so that the answer is decided when
// the task is done, however slow the disk is.
type sidecarTask struct {
	x      *exchange
	path   []byte // normalised path of the request
	name   string // of the source: key of the cache
	index  int    // which candidate it is
	source engine.Opened
	coded  []openedSidecar
}

type openedSidecar struct {
	coding httpfile.Coding
	key    string
	opened engine.Opened
}

func (s *session) sidecarsLater(c *engine.Conn, name string, i int, codings []httpfile.Coding) {
	x := s.take(c)
	x.keepHead(&s.head)
	t := &sidecarTask{x: x, path: append([]byte(nil), s.req.Path...), name: name, index: i}
	for _, k := range codings {
		key := string(appendSidecarKey(nil, []byte(name), k))
		t.coded = append(t.coded, openedSidecar{coding: k, key: key})
	}
	x.running = true
	c.Suspend()
	s.loop.Go(t)
}

// Run implements engine.Task.
func (t *sidecarTask) Run() {
	root := t.x.s.srv.root
	t.source = root.Open(t.name[1:], false)
	for i := range t.coded {
		o := &t.coded[i]
		o.opened = root.Open(sidecarName(o.key), false)
	}
}

// Done implements engine.Task.
func (t *sidecarTask) Done(l *engine.Loop) {
	x, s := t.x, t.x.s
	x.running = false
	f, e := l.Files.Add(t.name, t.source)
	var v *version
	if e == 0 {
		v = s.version(f, []byte(t.name), httpfile.Identity)
	}
	for i := range t.coded {
		o := &t.coded[i]
		_, missing := l.Files.Add(o.key, o.opened)
		if missing != 0 && v != nil {
			v.gone[o.coding] = l.Now() + sidecarFresh
		}
	}
	if x.conn == nil {
		s.put(nil, x)
		return
	}
	s.resume(x)
	s.req.Path = t.path
	s.found(x.conn, f, e, t.name, t.index)
}
