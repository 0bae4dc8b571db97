// Package record keeps what is to be known of each response in one Record: the
// counters, the histograms and the access log are made from it.
package record

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/server/admit"
	"github.com/fserve/fserve/server/release"
	"github.com/fserve/fserve/server/wire"
)

// Stats are a loop's counters of requests.
type Stats struct {
	Requests    uint64
	Refused     [wire.NumReason]uint64 // by reason
	Status      [6]uint64              // responses, by first digit
	ProxyErrors uint64                 // connections without a good PROXY header
	// Denied are requests that rules of access have refused.
	Denied [admit.NumJudgement]uint64
	// Compressed are responses with content that was compressed here.
	Compressed uint64

	// FirstByte and Duration are the times from a request's head to the first and
	// to the last byte of its response with the kernel; of responses that were
	// cut off, what they took until then. The engine tells the time once a turn:
	// what was answered in the turn in which it was read took 0.
	FirstByte, Duration Histogram
}

// Recorder records the responses of one event loop. All its methods are for that
// loop's goroutine.
type Recorder struct {
	Stats     Stats // all but Status, which Snapshot adds
	responses Responses
	buffers   map[*AccessLog]*buffer
	last      *buffer // that was used last; nil: none
	rand      *rand.PCG
	versions  map[*release.State]*[release.NumVersions]release.Counts
}

// NewRecorder returns a Recorder.
func NewRecorder(rows *Rows) *Recorder {
	r := &Recorder{buffers: make(map[*AccessLog]*buffer), rand: rand.NewPCG(rand.Uint64(), 0)}
	r.responses.Resize(rows)
	return r
}

// Resize makes room for rows that are new, and lets logs go that are closed.
func (r *Recorder) Resize(rows *Rows) {
	r.responses.Resize(rows)
	maps.DeleteFunc(r.buffers, func(a *AccessLog, b *buffer) bool {
		if a.gone.Load() && r.last == b {
			r.last = nil
		}
		return a.gone.Load()
	})
}

// buffer returns the loop's part of a log.
func (r *Recorder) buffer(log *AccessLog) *buffer {
	if r.last != nil && r.last.log == log {
		return r.last
	}
	b := r.buffers[log]
	if b == nil {
		b = log.newBuffer()
		r.buffers[log] = b
	}
	r.last = b
	return b
}

// Logging says whether and where the responses of a place have a line.
type Logging struct {
	Log *AccessLog // nil: nowhere
	// Sample is the part of the responses of status 2xx that has one, from 0 to 1; all
	// others have.
	Sample float64
}

// Wants reports whether a response is to have a line, for which Begin is called.
func (r *Recorder) Wants(l *Logging, status int) bool {
	return l.Log != nil && (l.Sample == 1 || status/100 != 2 || float64(r.rand.Uint64()>>11)/(1<<53) < l.Sample)
}

// Snapshot returns the counters, and adds the responses to those of other loops.
func (r *Recorder) Snapshot(all *Responses) Stats {
	out := r.Stats
	out.Status = r.responses.status()
	all.Add(r.responses)
	return out
}

// Count counts a response in the row of its host.
func (r *Recorder) Count(row, status int) { r.responses[row][status/100]++ }

// CountVersion has a response counted, when it has ended, as one of a version of a release.
func (r *Recorder) CountVersion(rec *Record, s *release.State, v release.Index, status int) {
	c := r.versions[s]
	if c == nil {
		if r.versions == nil {
			r.versions = make(map[*release.State]*[release.NumVersions]release.Counts)
		}
		c = new([release.NumVersions]release.Counts)
		r.versions[s] = c
	}
	rec.counts, rec.status = &c[v], status
}

// Versions adds what versions of releases have answered to that of other loops. Releases that are not
// in all are forgotten.
func (r *Recorder) Versions(all map[*release.State]*[release.NumVersions]release.Counts) {
	for s, counts := range r.versions {
		sum := all[s]
		if sum == nil {
			delete(r.versions, s)
			continue
		}
		for i := range counts {
			sum[i].Sum(&counts[i])
		}
	}
}

// Record is what is kept of a response until it has ended. It is used again after
// Reset.
type Record struct {
	Began int64 // monotonic ns: the turn in which the request was read

	logged          bool // there is to be a line
	unix, encrypted bool
	version         uint8 // of HTTP, in versions
	status, headLen int
	client          netip.Addr
	peer            netip.AddrPort
	port            uint16 // of the listener; 0: it has none
	raw             []byte // of the request, as it came: the fields of the line, cut
	fields          [numFields]span
	headers         [maxHeaders]span // of a Template
	to              *buffer          // where the line goes
	counts          *release.Counts  // in which it is counted; nil: it is of no release
}

// field is a part of a request that is in a line.
type field uint8

const (
	fieldLine   field = iota // the request line; combined format only
	fieldMethod              // JSON only, with the next two
	fieldTarget
	fieldRange
	fieldReferer
	fieldUserAgent
	fieldHost
	fieldUser
	fieldTier    // JSON only
	fieldRelease // not in combined format, with the next one
	fieldVersion
	numFields
)

// span is where a field is in Record.raw.
type span struct {
	from, to uint16
	there    bool // the request has it
}

const (
	// maxRequestLine bounds what is logged of the first line of a request, in bytes; what
	// was refused may have no end of line.
	maxRequestLine = 9 << 10
	// maxField bounds what is logged of each field of a request, in bytes.
	maxField = 1 << 10
	// maxRaw bounds all that is kept of a request for its line, in bytes.
	maxRaw = 24 << 10
	// maxKept is the most memory that a Record keeps for the next request, in bytes.
	maxKept = 2 << 10
)

// keep keeps a field for the line, at most so many bytes of it. What a line needs more for
// escapes is in the log's own memory, and for the time of writing only.
func (r *Record) keep(f field, value []byte, most int) { r.fields[f] = r.put(value, most) }

// keepWord is keep for what an empty word says that there is none of.
func (r *Record) keepWord(f field, s string) {
	r.fields[f] = span{}
	if s != "" {
		from := len(r.raw)
		r.raw = append(r.raw, s[:min(len(s), maxField, maxRaw-from)]...)
		r.fields[f] = span{uint16(from), uint16(len(r.raw)), true}
	}
}

// versions are those of HTTP.
var versions = [...]string{"HTTP/1.0", "HTTP/1.1", "HTTP/2.0"}

// keepLine keeps the request line. One that came by HTTP/2 had none: it has another end than what
// stands for it.
func (r *Record) keepLine(h *wire.Head) {
	r.keep(fieldLine, requestLine(h.Raw()), maxRequestLine)
	if line := r.field(fieldLine); r.version == 2 && bytes.HasSuffix(line, []byte(versions[1])) {
		copy(line[len(line)-len(versions[1]):], versions[2])
	}
}

// put is keep for what is no field. All together is at most maxRaw.
func (r *Record) put(value []byte, most int) span {
	from := len(r.raw)
	r.raw = append(r.raw, value[:min(len(value), most, maxRaw-from)]...)
	return span{uint16(from), uint16(len(r.raw)), value != nil}
}

// field returns what was kept of a field; nil: the request has none.
func (r *Record) field(f field) []byte {
	return r.at(r.fields[f])
}

func (r *Record) at(s span) []byte {
	if s.there {
		return r.raw[s.from:s.to]
	}
	return nil
}

// drop forgets the fields, which have been written.
func (r *Record) drop() {
	if r.raw = r.raw[:0]; cap(r.raw) > maxKept {
		r.raw = nil
	}
}

// Reset makes r ready for another response.
func (r *Record) Reset() {
	r.drop()
	*r = Record{raw: r.raw}
}

// Logged reports whether a line of the access log waits for the response to end.
func (r *Record) Logged() bool { return r.logged }

// Request is what a Record keeps of a request, and of the response that begins.
type Request struct {
	Head      *wire.Head
	Client    netip.Addr // see admit.Trust
	User      []byte     // whose password was asked for, right or wrong, or who asks; nil: not known
	Tier      string     // that the response is of; empty: none
	Release   string     // that it is of, and the version; empty: none
	Version   string
	Secret    []byte // what of the target is not written; nil: nothing
	Peer      netip.AddrPort
	Unix      bool // the connection is one of a Unix socket
	Encrypted bool
	HTTP2     bool // by which the request came
	Status    int
	HeadLen   int // bytes of the response head
	Port      uint16
}

// Begin keeps what the line of an access log needs of a request, whose bytes go away.
func (r *Recorder) Begin(rec *Record, log *AccessLog, q *Request) {
	h := q.Head
	rec.to = r.buffer(log)
	rec.logged, rec.status, rec.headLen, rec.version = true, q.Status, q.HeadLen, min(h.Minor, 1)
	if q.HTTP2 {
		rec.version = 2
	}
	rec.client, rec.peer, rec.unix, rec.encrypted, rec.port = q.Client, q.Peer, q.Unix, q.Encrypted, q.Port
	rec.raw = rec.raw[:0]
	defer rec.hide(q.Secret)
	if log.template != nil {
		log.template.begin(rec, q)
		return
	}
	if log.format == LogJSON {
		rec.keep(fieldHost, hostOf(h.Host()), maxField)
		rec.keep(fieldMethod, h.Method(), maxField)
		rec.keep(fieldTarget, h.Target(), maxRequestLine)
		rec.keep(fieldRange, h.Get(wire.Range), maxField)
		rec.keepWord(fieldTier, q.Tier)
		rec.keepWord(fieldRelease, q.Release)
		rec.keepWord(fieldVersion, q.Version)
	} else {
		rec.keepLine(h)
	}
	rec.keep(fieldUser, q.User, maxField)
	rec.keep(fieldReferer, h.Get(wire.Referer), maxField)
	rec.keep(fieldUserAgent, h.Get(wire.UserAgent), maxField)
}

// hide overwrites a secret in all that is kept of a request, also where a Referer has it.
func (r *Record) hide(secret []byte) {
	if len(secret) == 0 {
		return
	}
	for rest := r.raw; ; {
		i := bytes.Index(rest, secret)
		if i < 0 {
			return
		}
		for j := range secret {
			rest[i+j] = '*'
		}
		rest = rest[i+len(secret):]
	}
}

// End counts a response that has ended, and writes its line. rec is nil if nothing
// was kept: the response was begun in the turn in which its request was read. now is
// in Unix ns.
func (r *Recorder) End(rec *Record, o *engine.Outcome, now int64) {
	if rec == nil {
		r.Stats.measure(o, 0)
		return
	}
	r.Stats.measure(o, o.Start-rec.Began)
	if c := rec.counts; c != nil {
		rec.counts = nil
		cut := o.End == engine.FileChanged || o.End == engine.FileFailed
		c.Add(rec.status, cut, time.Duration(o.Start-rec.Began+o.First), time.Duration(o.Duration), o.Total())
	}
	if rec.logged {
		rec.to.writeLine(rec, o, now)
		rec.drop()
		rec.logged = false
	}
}

// measure counts how long a response took, which began so long after its request
// was read. Nothing at all is what ends a connection after a bad body.
func (s *Stats) measure(o *engine.Outcome, before int64) {
	switch {
	case o.Total() > 0:
		s.FirstByte.Observe(time.Duration(before + o.First))
	case o.End == engine.Complete:
		return
	}
	s.Duration.Observe(time.Duration(before + o.Duration))
}
