package aiosim

import (
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/fserve/fserve/internal/aio"
)

// kind names a line of the log. Calls that can fail are counted by it too.
type kind uint8

const (
	kNewDriver kind = iota + 1
	kListen
	kAccept
	kOpen
	kPause
	kResume
	kSend
	kSendFile
	kTake
	kReadAt
	kReadFile
	kStat
	kCork
	kPush
	kCloseWrite
	kClose
	kWait
	kWaited
	kNow
	kStats
	kDestroy
	kAccepted
	kReceived
	kReady
	kClosed
	kOpenFile
	kCloseFD
	kConnect
	kWrite
	kRead
	kFIN
	kRST
	kLeave
	kEnd
	kBreak
	kFetched
	kPin
	kTruncate
	kModify
	kTouch
	kLease
	kSever
	kReplace
	kWake
	kInjected
	numKind
)

// kinds holds for each kind its name and the format of its arguments.
var kinds = [numKind]struct {
	name, format string
	args         int
}{
	kNewDriver:  {"new-driver", "", 0},
	kListen:     {"listen", "fd=%d", 1},
	kAccept:     {"accept", "", 0},
	kOpen:       {"open", "fd=%d", 1},
	kPause:      {"pause", "", 0},
	kResume:     {"resume", "", 0},
	kSend:       {"send", "len=%d -> n=%d status=%d via=%d", 4},
	kSendFile:   {"sendfile", "off=%d len=%d -> n=%d status=%d", 4},
	kTake:       {"take", "fd=%d off=%d len=%d -> %d", 4},
	kReadAt:     {"readat", "fd=%d off=%d len=%d -> n=%d", 4},
	kReadFile:   {"readfile", "off=%d len=%d -> n=%d status=%d", 4},
	kStat:       {"stat", "fd=%d -> size=%d mtime=%d", 3},
	kCork:       {"cork", "on=%d", 1},
	kPush:       {"push", "", 0},
	kCloseWrite: {"closewrite", "", 0},
	kClose:      {"close", "reset=%d", 1},
	kWait:       {"wait", "cap=%d timeout=%d", 2},
	kWaited:     {"waited", "n=%d", 1},
	kNow:        {"now", "", 0},
	kStats:      {"stats", "", 0},
	kDestroy:    {"destroy", "open=%d", 1},
	kAccepted:   {"* accepted", "client=%d fd=%d", 2},
	kReceived:   {"* received", "n=%d more=%d", 2},
	kReady:      {"* ready", "", 0},
	kClosed:     {"* closed", "", 0},
	kOpenFile:   {"open-file", "fd=%d", 1},
	kCloseFD:    {"close-fd", "fd=%d", 1},
	kConnect:    {"  client connects", "client=%d", 1},
	kWrite:      {"  client writes", "client=%d n=%d", 2},
	kRead:       {"  client reads", "client=%d n=%d total=%d", 3},
	kFIN:        {"  client sends FIN", "client=%d", 1},
	kRST:        {"  client sends RST", "client=%d", 1},
	kLeave:      {"  client leaves", "client=%d", 1},
	kEnd:        {"  client sees end", "client=%d end=%d received=%d", 3},
	kBreak:      {"  connection breaks", "client=%d", 1},
	kFetched:    {"  fetched", "off=%d n=%d", 2},
	kPin:        {"  operations on file", "fd=%d n=%d", 2},
	kTruncate:   {"  file truncated", "size=%d", 1},
	kModify:     {"  file modified", "", 0},
	kTouch:      {"  file touched", "", 0},
	kLease:      {"  lease", "fd %d taken %d", 2},
	kSever:      {"  severed", "fd %d with %d bytes", 2},
	kReplace:    {"  file replaced", "size=%d", 1},
	kWake:       {"  woken", "", 0},
	kInjected:   {"! fails", "kind=%d number=%d", 2},
}

func (k kind) String() string { return strings.Trim(kinds[k].name, "*! ") }

// record is one line of the log.
type record struct {
	at   int64
	kind kind
	err  syscall.Errno
	tok  aio.Token
	args [4]int64
}

const hashPrime = 0x9E3779B97F4A7C15

// note writes one line to the log and mixes it into the trace.
func (w *World) note(k kind, t aio.Token, a, b, c, d int64) {
	w.noteErr(k, t, 0, a, b, c, d)
}

func (w *World) noteErr(k kind, t aio.Token, e syscall.Errno, a, b, c, d int64) {
	h := (w.hash ^ uint64(w.now)) * hashPrime
	h = (h ^ h>>29 ^ uint64(k)<<32 ^ uint64(e)) * hashPrime
	h = (h ^ h>>31 ^ uint64(t)) * hashPrime
	h = (h ^ h>>30 ^ uint64(a)) * hashPrime
	h = (h ^ h>>29 ^ uint64(b)) * hashPrime
	w.hash = (h ^ h>>32 ^ uint64(c)<<1 ^ uint64(d)) * hashPrime
	r := record{at: w.now, kind: k, err: e, tok: t, args: [4]int64{a, b, c, d}}
	if len(w.log) < w.cfg.LogSize {
		w.log = append(w.log, r)
	} else {
		w.log[w.logged%len(w.log)] = r
	}
	w.logged++
}

// Trace returns a hash of everything that happened so far, with its times.
func (w *World) Trace() uint64 { return w.hash }

// Log returns what happened, one line each, the oldest first; only the last
// Config.LogSize lines are kept.
func (w *World) Log() string {
	var b strings.Builder
	first := max(0, w.logged-len(w.log))
	if first > 0 {
		fmt.Fprintf(&b, "... %d earlier lines\n", first)
	}
	for i := first; i < w.logged; i++ {
		w.log[i%len(w.log)].format(&b)
	}
	return b.String()
}

func (r *record) format(b *strings.Builder) {
	k := &kinds[r.kind]
	fmt.Fprintf(b, "%14v %-18s", time.Duration(r.at-startTime), k.name)
	if r.tok != 0 {
		fmt.Fprintf(b, " slot %d/%d", r.tok.Slot(), r.tok.Gen())
	}
	if k.args > 0 {
		args := make([]any, k.args)
		for i := range args {
			args[i] = r.args[i]
		}
		fmt.Fprintf(b, " "+k.format, args...)
	}
	if r.kind == kInjected {
		fmt.Fprintf(b, " (%s)", kind(r.args[0]))
	}
	if r.err != 0 {
		fmt.Fprintf(b, ": %s", r.err.Error())
	}
	b.WriteByte('\n')
}
