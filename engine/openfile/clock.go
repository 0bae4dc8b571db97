package openfile

import (
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// tick is the longest time for which a kernel stamps changes with one and the same
	// instant, where it does not do better: CONFIG_HZ=100.
	tick = int64(10 * time.Millisecond)
	// coarse is that of file systems that keep even seconds (FAT), whole seconds (NFS 2
	// and 3 may), or of which nothing is known.
	coarse = int64(2 * time.Second)
)

const magicZFS = 0x2fc12fc1

// indistinct reports whether a file may change without another time. st is what fstat(2)
// told of the descriptor at the instant now (Unix ns) or a moment later. An instant that
// is far ahead was set by somebody: the next change brings another.
func indistinct(fd int, st *unix.Stat_t, now int64) bool {
	age := now - st.Ctim.Nano()
	if age <= -coarse || age >= coarse {
		return false
	}
	var fs unix.Statfs_t
	if st.Ctim.Nsec != 0 && unix.Fstatfs(fd, &fs) != nil {
		return true
	}
	apart := resolution(uint32(fs.Type), st.Ctim.Nsec, multigrain())
	return -apart < age && age < apart
}

// resolution returns how far apart two changes of a file must be to have different times,
// in ns. 0: they need not be, once somebody has asked for the first (multigrain). An instant
// without a fraction is of a file system that keeps whole seconds, as ext4 with small
// inodes does.
func resolution(magic uint32, fraction int64, multigrain bool) int64 {
	if fraction == 0 {
		return coarse
	}
	switch magic {
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.TMPFS_MAGIC:
		if multigrain {
			return 0
		}
		return tick
	case unix.F2FS_SUPER_MAGIC, unix.OVERLAYFS_SUPER_MAGIC, unix.RAMFS_MAGIC, magicZFS, unix.BCACHEFS_SUPER_MAGIC:
		return tick
	}
	return coarse
}

// multigrain reports whether the kernel gives a file another time at each change that
// follows a stat(2): Linux 6.13.
var multigrain = sync.OnceValue(func() bool {
	var u unix.Utsname
	var major, minor int
	if unix.Uname(&u) != nil {
		return false
	}
	if _, err := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor); err != nil {
		return false
	}
	return major > 6 || major == 6 && minor >= 13
})
