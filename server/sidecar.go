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
func (s *session) negotiate(c *engine.Conn, f *engine.File, v *version, key []byte, i int) {
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
		side, wait := s.sidecar(key, asked)
		switch {
		case wait:
			s.sidecarsLater(c, string(key), i, avail)
			return
		case side == nil || !httpfile.SidecarFresh(f.Mtime, side.Mtime):
			v.gone[asked] = now + sidecarFresh
			avail = without(avail, asked)
		case k == httpfile.NotAcceptable:
			s.failWith(c, httpfile.StatusNotAcceptable)
			return
		default:
			s.send(c, side, s.at.version(side, s.at.path(key), k))
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

// sidecar returns a sidecar of the file with a key, nil if there is none. wait:
// the disk would have to be asked.
func (s *session) sidecar(source []byte, k httpfile.Coding) (side *engine.File, wait bool) {
	s.sideBuf = appendSidecarKey(s.sideBuf[:0], source, k)
	if side = s.loop.Files.Get(s.sideBuf); side != nil {
		return side, false
	}
	key := string(s.sideBuf)
	side, e := s.loop.Files.Open(s.at.root, key, s.at.sidecar(key))
	if e != 0 {
		return nil, e == syscall.EAGAIN
	}
	return side, false
}

// appendSidecarKey appends the key that a sidecar has in the cache, from that of
// its source. A NUL, which no path holds, tells it from the same file asked for by
// its own name: that has another type and another tag.
func appendSidecarKey(dst, source []byte, k httpfile.Coding) []byte {
	return append(append(append(dst, source...), k.Ext()...), 0)
}

// sidecar returns the name to open of a sidecar's key.
func (p *place) sidecar(key string) string { return p.name(key[:len(key)-1]) }

// sidecarTask opens a file and its sidecars where that must wait for the disk.
// All that may be needed is opened at once, so that the answer is decided when
// the task is done, however slow the disk is.
type sidecarTask struct {
	x      *exchange
	place  *place
	path   []byte // normalised path of the request
	key    string // of the source
	index  int    // which candidate it is
	source engine.Opened
	coded  []openedSidecar
}

type openedSidecar struct {
	coding httpfile.Coding
	key    string
	opened engine.Opened
}

func (s *session) sidecarsLater(c *engine.Conn, key string, i int, codings []httpfile.Coding) {
	x := s.take(c)
	x.keepHead(&s.head)
	t := &sidecarTask{x: x, place: s.hold(), path: append([]byte(nil), s.req.Path...), key: key, index: i}
	for _, k := range codings {
		t.coded = append(t.coded, openedSidecar{coding: k, key: string(appendSidecarKey(nil, []byte(key), k))})
	}
	x.running = true
	c.Suspend()
	s.loop.Go(t)
}

// Run implements engine.Task.
func (t *sidecarTask) Run() {
	p := t.place
	t.source = p.root.Open(p.name(t.key), false)
	for i := range t.coded {
		o := &t.coded[i]
		o.opened = p.root.Open(p.sidecar(o.key), false)
	}
}

// Done implements engine.Task.
func (t *sidecarTask) Done(l *engine.Loop) {
	x, s, p := t.x, t.x.s, t.place
	defer s.leave(p.site)
	x.running = false
	f, e := l.Files.Add(t.key, t.source)
	var v *version
	if e == 0 {
		v = p.version(f, p.path([]byte(t.key)), httpfile.Identity)
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
	s.resume(x, p)
	s.req.Path = t.path
	s.found(x.conn, f, e, t.key, t.index)
}
