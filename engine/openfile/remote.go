package openfile

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// local are the file systems, by statfs(2), that wait for nothing but a disk of this
// machine. Any other may wait for the network or for a process (FUSE, NFS, CIFS, 9p, Ceph
// and those that are not known here).
var local = map[uint32]bool{
	unix.EXT4_SUPER_MAGIC: true, // ext2 and ext3 too
	unix.XFS_SUPER_MAGIC:  true, unix.BTRFS_SUPER_MAGIC: true, unix.F2FS_SUPER_MAGIC: true,
	unix.TMPFS_MAGIC: true, unix.RAMFS_MAGIC: true, unix.HUGETLBFS_MAGIC: true,
	unix.OVERLAYFS_SUPER_MAGIC: true, unix.ECRYPTFS_SUPER_MAGIC: true,
	unix.SQUASHFS_MAGIC: true, unix.EROFS_SUPER_MAGIC_V1: true, unix.CRAMFS_MAGIC: true,
	unix.ISOFS_SUPER_MAGIC: true, unix.UDF_SUPER_MAGIC: true, unix.MSDOS_SUPER_MAGIC: true, unix.EXFAT_SUPER_MAGIC: true,
	unix.REISERFS_SUPER_MAGIC: true, unix.NILFS_SUPER_MAGIC: true, unix.JFFS2_SUPER_MAGIC: true, unix.MINIX_SUPER_MAGIC: true,
	unix.PROC_SUPER_MAGIC: true, unix.SYSFS_MAGIC: true,
	0x2fc12fc1: true, // ZFS
	0xca451a4e: true, // bcachefs
	0x3153464a: true, // JFS
	0x7366746e: true, // NTFS (ntfs3)
	0x24051905: true, // UBIFS
	0x482b:     true, // HFS+
	0x61756673: true, // aufs
}

// List runs f, which makes a listing of a directory below the root, on another goroutine,
// unless too many wait for that already.
func (r *Root) List(f func()) bool { return r.lists.try(f) }

// IsRemote reports whether an open file is on a file system that may wait for more than
// a disk. To ask may take as long.
func IsRemote(fd int) bool {
	var st unix.Statfs_t
	err := unix.Fstatfs(fd, &st)
	for errors.Is(err, unix.EINTR) {
		err = unix.Fstatfs(fd, &st)
	}
	return err != nil || !local[uint32(st.Type)]
}

// Remote reports whether the file is on a network file system, or on one that may wait as
// long.
func (o *Opened) Remote() bool { return o.From != nil }

// Do runs f, which does something with the file. Of a remote one that is done by a goroutine
// of its root and waited for, so that callers that wait keep a bounded number of threads.
func (o *Opened) Do(f func()) {
	if o.From == nil {
		f()
		return
	}
	done := make(chan struct{})
	o.From.Later(func() {
		defer close(done)
		f()
	})
	<-done
}

// Remote reports whether the directory is on a network file system, or on one that may
// wait as long: nothing of it is opened, read or closed on a loop.
func (r *Root) Remote() bool { return r.remote.Load() }

// Remote reports whether the file is on such a file system.
func (f *File) Remote() bool { return f.from != nil }

// Far is where remote files are, on a network file system or one that may wait as long: a Root, and
// in simulations of a loop another. It is safe for concurrent use.
type Far interface {
	// Later runs f soon on another goroutine, where Pread, Fstat and what f does may wait.
	Later(f func())
	Pread(fd int, p []byte, off int64) (int, error)
	Fstat(fd int, st *unix.Stat_t) error
	// CloseLater closes a file soon, without waiting for that.
	CloseLater(fd int)
}

// Later implements Far.
func (r *Root) Later(f func()) { r.reads.do(f) }

// Pread implements Far.
func (r *Root) Pread(fd int, p []byte, off int64) (int, error) { return unix.Pread(fd, p, off) }

// Fstat implements Far.
func (r *Root) Fstat(fd int, st *unix.Stat_t) error { return unix.Fstat(fd, st) }

// CloseLater implements Far: not by package sys, which keeps the processor.
func (r *Root) CloseLater(fd int) { r.far.do(func() { unix.Close(fd) }) }

// Read reads a range of a file into p, on another goroutine, where done is called then. The
// file must be retained until that. ESTALE: it ends before, or look was asked for and it is
// not the version any more that was opened.
func (f *File) Read(p []byte, off int64, look bool, done func(syscall.Errno)) {
	fd, size, mtime, growing, from := f.lent.FD, f.Size, f.Mtime, f.policy.Growing, f.from
	if from == nil {
		from = disks
	}
	from.Later(func() {
		n, e := readFull(from.Pread, fd, p, off)
		if e == 0 && n < len(p) {
			e = unix.ESTALE
		}
		var st unix.Stat_t
		if e == 0 && look {
			err := from.Fstat(int(fd), &st)
			if err != nil || st.Size < size || !growing && (st.Size > size || st.Mtim.Nano() != mtime) {
				e = unix.ESTALE
			}
		}
		done(e)
	})
}

// nearReads bounds the reads of files on disks of this machine that are under way at a time.
const nearReads = 16

// disks read files of this machine.
var disks = near{Root: new(Root), places: make(chan struct{}, nearReads)}

// near is Far for files on disks of this machine.
type near struct {
	*Root  // which reads as any other
	places chan struct{}
}

// Later implements Far.
func (n near) Later(f func()) {
	go func() {
		n.places <- struct{}{}
		defer func() { <-n.places }()
		f()
	}()
}

// close closes a descriptor of a file, from nil: on a local file system.
func (fs *Files) close(fd int32, from Far) {
	if from == nil {
		fs.closeFD(fd)
		return
	}
	from.CloseLater(int(fd))
}
