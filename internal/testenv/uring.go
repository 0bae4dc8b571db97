package testenv

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// RequireUringEnv names the environment variable that makes a test which needs
// io_uring fail, rather than be skipped, where the kernel does not offer it.
const RequireUringEnv = "FSERVE_REQUIRE_URING"

var skippedForUring atomic.Int64

// NeedUring skips the test if the kernel or a sandbox refuses io_uring. With
// FSERVE_REQUIRE_URING=1 in the environment it fails instead, so that a build
// cannot pass without having tested the ring.
func NeedUring(t testing.TB) {
	t.Helper()
	e := probeUring()
	if e == 0 {
		return
	}
	if os.Getenv(RequireUringEnv) == "1" {
		t.Fatalf("io_uring is required here (%s=1) but refused: %v", RequireUringEnv, e)
	}
	skippedForUring.Add(1)
	t.Skipf("io_uring refused: %v (%s=1 makes this a failure)", e, RequireUringEnv)
}

// Main runs the tests of a package and says on standard error how many were
// skipped for lack of io_uring or of network namespaces, so that the loss is seen
// without -v. It is meant for TestMain and returns the exit code.
func Main(m *testing.M) int {
	if backing := os.Getenv(slowFSEnv); backing != "" {
		serveSlowFS(backing)
		return 0
	}
	code := m.Run()
	if n := skippedForUring.Load(); n > 0 {
		fmt.Fprintf(os.Stderr, "WARNING: %d tests skipped: io_uring refused\n", n)
	}
	if n := skippedForNet.Load(); n > 0 {
		fmt.Fprintf(os.Stderr, "WARNING: %d tests skipped: needs CAP_NET_ADMIN and ip, tc, nft\n", n)
	}
	return code
}

// probeUring tries to make a ring. The answer does not change while the tests
// run, so it is asked for once.
var probeUring = sync.OnceValue(func() syscall.Errno {
	var params [120]byte // struct io_uring_params, all defaults
	fd, _, e := syscall.Syscall(unix.SYS_IO_URING_SETUP, 2, uintptr(unsafe.Pointer(&params)), 0)
	if e == 0 {
		unix.Close(int(fd))
	}
	return e
})
