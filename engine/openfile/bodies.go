package openfile

import "time"

// Content comes to a session in one of three ways. What is asked for often is kept in memory
// (File.Body), as long as nothing else there is worth more. Other small files are read for each
// request (File.Brief), which costs less than to send them from where they lie. All else is sent
// without copying. See docs/decisions/bodies.md.

const (
	// briefMax is the size up to which a file is read for a request, in bytes: for more the
	// copy costs more than the calls that it saves.
	briefMax = 8 << 10
	// maxBriefs bounds the files that are read for one request.
	maxBriefs = 4
	// smallBody is the size up to which it pays to send from memory that is in no cache of the
	// processor, in bytes.
	smallBody = 16 << 10
	// ripe and ripeLarge are from how many requests on a body is kept. One of more than
	// smallBody costs as much to read as some requests save.
	ripe      = 2
	ripeLarge = 8
	// maxHits bounds what is counted of a file.
	maxHits = 255
)

// MaxContent is the size up to which the content of a remote file is to be read when it is
// opened, in bytes.
func (fs *Files) MaxContent() int64 { return min(fs.maxBody, briefMax) }

// demand counts requests. What is counted of all files is halved from time to time, so that what
// was asked for long ago makes room.
type demand struct {
	counted int // in this era
	era     uint32
}

// hit counts a request for one of n files.
func (d *demand) hit(f *File, n int) {
	if d.counted++; d.counted > 8*n+1024 {
		d.counted = 0
		d.era++
	}
	f.hits, f.era = min(d.of(f)+1, maxHits), d.era
}

// of returns how often a file was asked for lately.
func (d *demand) of(f *File) uint32 { return f.hits >> min(d.era-f.era, 31) }

// worthOf says what the body of a file is worth in the arena: more than one that was asked for as
// often, or else they would drive each other out. Negative: it stays.
func (fs *Files) worthOf(f *File) int {
	if f.InUse() || f.request == fs.request {
		return -1
	}
	return int(fs.demand.of(f)) + 1
}

// ready gets the content of a cached file for a request, if that is to be in memory. It reports
// false if the file has changed.
func (fs *Files) ready(f *File) bool {
	if f.Body == nil && !f.Remote() {
		// Where there is no room it tries again when it was asked for twice as often.
		if f.hits&(f.hits-1) == 0 && f.hits >= ripeness(f.Size) && fs.keep(f, nil, int(f.hits)) || fs.skim(f) {
			return true
		}
		if f.isBrief() && fs.hold(f, false) != 0 {
			return false
		}
	}
	return f.sure() || f.Unchanged(fs.driver)
}

// load gets the content of a file that was opened, or looked at again. What is sent otherwise
// gets a lease. content was read with the file: of a remote one it is not to be had later.
func (fs *Files) load(f *File, content []byte) {
	if f.Body != nil || f.brief {
		return
	}
	if content != nil && fs.keep(f, content, ripe) || !f.Remote() && fs.skim(f) {
		return
	}
	_ = fs.hold(f, false) // the answer is decided already
}

// arenaOf returns where the body of a file is, if it is kept.
func (fs *Files) arenaOf(f *File) *arena {
	if f.Size > smallBody {
		return &fs.large
	}
	return &fs.small
}

func ripeness(size int64) uint32 {
	if size > smallBody {
		return ripeLarge
	}
	return ripe
}

// isBrief reports whether a file may be read for a request.
func (f *File) isBrief() bool { return f.Size > 0 && f.Size <= f.files.MaxContent() }

// keep puts the body of a file into memory, if there is room for one of its worth.
func (fs *Files) keep(f *File, content []byte, worth int) bool {
	if f.Size == 0 || f.Size > fs.maxBody {
		return false
	}
	a := fs.arenaOf(f)
	b := a.alloc(fs.headroom+int(f.Size), worth)
	if b == nil {
		return false
	}
	room := a.bytes(b)[:fs.headroom+int(f.Size)]
	if !fs.read(f, room[fs.headroom:], content) {
		a.release(b)
		return false
	}
	b.file, f.block = f, b
	f.Body, f.room = room[fs.headroom:], room
	f.Loads++
	fs.stats.Bytes += f.Size
	if f.leased {
		f.young = false // nobody was writing while it was read
		if f.isBrief() && !f.InUse() {
			fs.giveUp(f) // it will not be sent otherwise, and was not: its pages are in no socket
		}
	}
	return true
}

// read reads all of a file, unless its content was read already. It reports false if that is
// not in memory or the file is being changed.
func (fs *Files) read(f *File, p, content []byte) bool {
	if copy(p, content) > 0 {
		return true
	}
	n, e := fs.driver.ReadAt(&f.lent, p, 0)
	return e == 0 && n == len(p) && f.Unchanged(fs.driver)
}

// dropBody lets go of the body of a file, whose block is freed by the caller.
func (fs *Files) dropBody(f *File) {
	fs.stats.Bytes -= f.Size
	f.Body, f.room, f.block = nil, nil, nil
}

// skim reads a small file for the request at hand.
func (fs *Files) skim(f *File) bool {
	if !f.isBrief() || len(fs.briefs) == maxBriefs {
		return false
	}
	if len(fs.rooms) == len(fs.briefs) {
		fs.rooms = append(fs.rooms, make([]byte, fs.headroom+int(fs.MaxContent())))
	}
	room := fs.rooms[len(fs.briefs)][:fs.headroom+int(f.Size)]
	if !fs.read(f, room[fs.headroom:], nil) {
		return false
	}
	f.brief, f.room = true, room
	f.Loads++
	fs.briefs = append(fs.briefs, f)
	return true
}

// endBriefs ends the time of what was read for the request before.
func (fs *Files) endBriefs() {
	for i, f := range fs.briefs {
		f.brief, f.room = false, nil
		fs.briefs[i] = nil
	}
	fs.briefs = fs.briefs[:0]
}

// touch reads of a file whose body is in memory once a day, as who sends it from there
// does not: so its time of access moves, as the mount has it.
func (fs *Files) touch(f *File, o *Opened) {
	if f.Body != nil && !f.Remote() && o.At-o.Stat.Atim.Nano() > int64(24*time.Hour) {
		var p [1]byte
		_, _ = fs.driver.ReadAt(&f.lent, p[:], 0) // it is not needed
	}
}
