package tls

import (
	"errors"
	"fmt"
	"net"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/sys"
	"github.com/fserve/fserve/internal/tlsrec"
)

// Kernel reports whether the kernel is to seal what connections of TLS 1.3 send, and if so why it does
// not; nil: it does.
func (f *Front) Kernel() (asked bool, refused error) {
	if f == nil || !f.cfg.Kernel {
		return false, nil
	}
	return true, KernelSeals()
}

// sealByKernel has the kernel seal what is sent on a socket, if that is asked for and can be. A socket
// that it has taken already and then cannot seal for is as before: the loop does it.
func (f *Front) sealByKernel(fd int, rec *tlsrec.Conn) {
	if asked, refused := f.Kernel(); !asked || refused != nil {
		return
	}
	info, err := rec.KernelInfo()
	if err == nil && info != nil {
		err = sys.SealByKernel(int32(fd), info)
		clear(info)
		if err == nil {
			rec.LetGo()
			return
		}
	}
	if err != nil {
		f.kernelRefused.Do(func() { f.cfg.Log.Warn("TLS: the kernel refuses to seal for a connection; a loop does it", "err", err) })
	}
}

// count counts a connection that a loop has.
func (f *Front) count(d *direct, n int64) {
	if d.byKernel {
		f.byKernel.Add(n)
		return
	}
	f.onLoops.Add(n)
}

// KernelSeals returns why Linux here cannot seal records (module tls, CONFIG_TLS; 5.1 for TLS 1.3); nil: it
// can. It is found out once, by a trial on a connection to itself.
var KernelSeals = sync.OnceValue(func() error {
	err := tryKernel()
	switch {
	case errors.Is(err, unix.ENOENT):
		return fmt.Errorf("this kernel has no TLS, or its module tls is not loaded: %w", err)
	case err != nil:
		return fmt.Errorf("this kernel refuses TLS 1.3: %w", err)
	}
	return nil
})

func tryKernel() error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer ln.Close()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		return err
	}
	defer conn.Close()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return err
	}
	var refused error
	err = raw.Control(func(fd uintptr) { refused = sys.SealByKernel(int32(fd), tlsrec.TrialInfo()) })
	return errors.Join(err, refused)
}
