package doctor

import (
	"cmp"
	"errors"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/lease"
	"github.com/fserve/fserve/internal/sys"
)

// fileSystems names the file systems that matter here, by their magic number
// (statfs(2)).
var fileSystems = map[int64]string{
	unix.EXT4_SUPER_MAGIC: "ext4", unix.XFS_SUPER_MAGIC: "xfs", unix.BTRFS_SUPER_MAGIC: "btrfs",
	unix.TMPFS_MAGIC: "tmpfs", unix.OVERLAYFS_SUPER_MAGIC: "overlay", unix.NFS_SUPER_MAGIC: "nfs",
	unix.FUSE_SUPER_MAGIC: "fuse", unix.SMB2_SUPER_MAGIC: "cifs", unix.CEPH_SUPER_MAGIC: "ceph",
	unix.F2FS_SUPER_MAGIC: "f2fs", zfsMagic: "zfs", unix.SQUASHFS_MAGIC: "squashfs", unix.V9FS_MAGIC: "9p",
}

const zfsMagic = 0x2fc12fc1 // not in the kernel's headers

// foliosSince is the Linux version since which a file system has pages of more than 4 KiB.
var foliosSince = map[string]int{"xfs": 518, "tmpfs": 614, "ext4": 616, "btrfs": 617}

// remote are file systems whose files come over a network, or from a process.
var remote = map[string]bool{"nfs": true, "cifs": true, "fuse": true, "ceph": true, "9p": true}

func (s System) files(root string) Report {
	fs, err := s.Files(root)
	if err != nil {
		return Report{{
			Name: "file system", Status: Warning, Found: err.Error(),
			Lost: "everything: the root cannot be read", Mend: "ls -ld " + root,
		}}
	}
	r := Report{s.fileSystem(fs)}
	if !fs.NoFile {
		r = append(r, residency(fs), consistency(fs))
	}
	return r
}

func (s System) fileSystem(fs FileSystem) Finding {
	f := Finding{Name: "file system", Status: OK, Found: fs.Name}
	since, folios := foliosSince[fs.Name]
	switch {
	case remote[fs.Name]:
		f.Status = Note
		f.Lost = "local speed: what is not in memory comes from elsewhere, and changes are seen as late as it tells them"
		f.Mend = "serve hot files from a local disk"
	case fs.Name == "overlay":
		f.Status = Note
		f.Lost = "some CPU time for each open and each look at a file: two file systems are asked"
		f.Mend = "mount the root as a volume: docker run --volume /srv/downloads:/srv/downloads:ro"
	case !folios || version(s.release()) < since:
		f.Status = Note
		f.Lost = "large folios: cold files are brought in page by page, which takes up to four times the CPU time"
		f.Mend = "keep large files on xfs (Linux 5.18), ext4 (6.16) or btrfs (6.17)"
	}
	return f
}

func residency(fs FileSystem) Finding {
	f := Finding{Name: "residency", Status: OK, Found: "by cachestat"}
	switch {
	case fs.Cachestat:
	case fs.Nowait:
		f.Status, f.Found = Note, "by RWF_NOWAIT: cachestat is not there or not allowed, which needs a file that is one's own"
		f.Lost = "exact knowledge of what is in memory: it is asked for each MiB, and believed for 100 ms"
		f.Mend = "run as the owner of the files, on Linux 6.5 or later"
	default:
		f.Status, f.Found = Warning, "unknown: neither cachestat nor RWF_NOWAIT"
		f.Lost = "speed of large files: each range is taken to be cold, and fetched before it is sent"
		f.Mend = "serve from ext4, xfs, btrfs or tmpfs, as the owner of the files"
	}
	return f
}

// Leases returns why files below a root get no read leases (docs/consistency.md), empty if
// they do. It opens one of them.
func Leases(root string) string {
	switch fs, err := lookAt(root); {
	case err != nil:
		return err.Error()
	case remote[fs.Name]:
		return fs.Name + " has none"
	case fs.Lease == unix.EACCES:
		return "the files are another user's"
	case fs.Lease != 0:
		return fs.Name + ": " + fs.Lease.Error()
	}
	return ""
}

// consistency is what keeps a response from joining two versions of a file.
func consistency(fs FileSystem) Finding {
	f := Finding{Name: "consistency", Status: OK, Found: "by read leases"}
	if fs.Lease == 0 && !remote[fs.Name] {
		return f
	}
	f.Status, f.Found = Note, "by looking at the file before its last bytes leave"
	f.Lost = "a promise: bytes on the way change with a file that is written to in place (docs/consistency.md)"
	f.Mend = "set files.consistency: copy, or replace files by rename"
	if fs.Lease == unix.EACCES {
		f.Mend = "run as the owner of the files or with CAP_LEASE (deploy/systemd/leases.conf), or " + f.Mend
	}
	return f
}

// lookAt asks the kernel about a directory.
func lookAt(dir string) (fs FileSystem, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fs, &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	fs.Name = cmp.Or(fileSystems[int64(st.Type)], "unknown") //nolint:unconvert // 32 bits on some architectures
	file, err := someFile(dir)
	if err != nil || file == nil {
		fs.NoFile = true
		return fs, err
	}
	defer file.Close()
	var cached sys.Cachestat
	fs.Cachestat = sys.CachestatRange(int32(file.Fd()), 0, 1, &cached) == 0
	var b [1]byte
	_, e := sys.PreadNowait(int32(file.Fd()), b[:], 0)
	fs.Nowait = e == 0 || e == unix.EAGAIN
	if e := lease.Probe(int32(file.Fd())); e != unix.EAGAIN { // it could have one when its writer has gone
		fs.Lease = e
	}
	return fs, nil
}

// someEntries bounds how many entries of a directory are looked at.
const someEntries = 1000

// someFile opens a file of a directory or of one right below it; nil: there is
// none among the first entries.
func someFile(dir string) (*os.File, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	entries, err := d.ReadDir(someEntries)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		if f, err := os.Open(filepath.Join(dir, e.Name())); err == nil {
			return f, nil
		}
	}
	return nil, nil
}
