// Package peer starts and stops the servers that are measured: fserve, nginx,
// the stock servers of fasthttp and net/http, servers that the engine is embedded
// in, and the floor, which is the cheapest responder possible.
package peer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/fserve/fserve/bench/proc"
)

const (
	startTimeout = 10 * time.Second // from start to the first accepted connection
	stopTimeout  = 3 * time.Second  // from SIGTERM to SIGKILL
	logTail      = 2 << 10          // bytes of a server's log that an error quotes
)

// Kind says how a server is started.
type Kind string

// The kinds of servers.
const (
	Fserve    Kind = "fserve"
	Nginx     Kind = "nginx"
	NginxAIO  Kind = "nginx-aio"  // nginx with "aio threads"
	NginxOpen Kind = "nginx-open" // nginx with a cache of open files that holds all of any case
	FastHTTP  Kind = "fasthttp"   // stock fasthttp.Server over fasthttp.FS
	NetHTTP   Kind = "nethttp"    // stock http.Server over http.FileServer
	Embed     Kind = "embed"      // http.Server, with the engine inside it if its arguments say so
	Gin       Kind = "gin"        // the program of examples/gin
	Floor     Kind = "floor"
)

// Spec names one server to be measured.
type Spec struct {
	Name   string // in tables
	Kind   Kind
	Binary string   // path of the program; kinds Fserve, Nginx, NginxAIO and Gin
	Args   []string // further arguments; kinds Fserve, Embed and Gin
}

// Site is what the servers of one case have in common.
type Site struct {
	Root    string // directory of the files
	Scratch string // directory for configurations and logs
	Self    string // path of a program that hands its arguments to Main
	CPU     int    // core of the servers
	Conns   int    // connections that must fit
	Host    string // address of the servers; empty: loopback

	// What limits traffic.
	FserveArgs []string // further arguments of fserve
	NginxRate  int64    // limit_rate of nginx, in bytes per second; 0: none
	NginxFiles int      // that nginx keeps open (open_file_cache); 0: none
	Admin      bool     // fserve has an admin listener

	TLS bool // Addr speaks TLS 1.3; see Kind.HasTLS

	// What the floor needs to know, since it does not look at requests.
	Path  string // the one path that is asked for
	Close bool   // connections end after each response
}

// Server is a running server.
type Server struct {
	Spec
	Addr  string // address and port
	Admin string // likewise, of the admin listener; empty: there is none

	secure bool
	pid    int
	log    string
	done   chan struct{} // closed when the process has ended
}

// URL returns the address with its scheme, without a slash at the end.
func (s *Server) URL() string {
	if s.secure {
		return "https://" + s.Addr
	}
	return "http://" + s.Addr
}

// HasTLS tells whether servers of this kind can be started with TLS here.
func (k Kind) HasTLS() bool { return k == Fserve || k == Nginx }

// Start starts a server on its core and waits until it accepts connections.
// ctx ends the wait, not the server: Stop does.
func Start(ctx context.Context, spec Spec, site Site) (*Server, error) {
	s, err := start(ctx, spec, site)
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", spec.Name, err)
	}
	return s, nil
}

func start(ctx context.Context, spec Spec, site Site) (*Server, error) {
	dir, err := os.MkdirTemp(site.Scratch, string(spec.Kind)+"-")
	if err != nil {
		return nil, err
	}
	addr, err := freeAddr(site.Host)
	if err != nil {
		return nil, err
	}
	admin := ""
	if site.Admin && spec.Kind == Fserve {
		if admin, err = freeAddr(""); err != nil {
			return nil, err
		}
		site.FserveArgs = append(slices.Clone(site.FserveArgs), "--admin", admin)
	}
	cmd, err := command(spec, site, dir, addr)
	if err != nil {
		return nil, err
	}
	s := &Server{Spec: spec, Addr: addr, Admin: admin, secure: site.TLS, log: filepath.Join(dir, "log"), done: make(chan struct{})}
	log, err := os.Create(s.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := proc.StartOn(cmd, site.CPU); err != nil {
		return nil, err
	}
	s.pid = cmd.Process.Pid
	go func() {
		_ = cmd.Wait() // how it ended shows in its log
		close(s.done)
	}()
	if err := s.ready(ctx); err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}

// command returns how to start a server at addr.
func command(spec Spec, site Site, dir, addr string) (*exec.Cmd, error) {
	if site.TLS && !spec.Kind.HasTLS() {
		return nil, fmt.Errorf("%s is not set up for TLS here", spec.Kind)
	}
	switch spec.Kind {
	case Fserve:
		return startFserve(spec, site, dir, addr)
	case Nginx, NginxAIO, NginxOpen:
		return nginxCommand(spec, site, dir, addr)
	case FastHTTP, NetHTTP:
		return exec.Command(site.Self, string(spec.Kind), "-addr="+addr, "-root="+site.Root), nil
	case Embed:
		return exec.Command(site.Self, append([]string{string(Embed), "-addr=" + addr, "-root=" + site.Root}, spec.Args...)...), nil
	case Gin:
		return exec.Command(spec.Binary, append([]string{"-listen", addr, "-root", site.Root}, spec.Args...)...), nil
	case Floor:
		return exec.Command(site.Self, "floor", "-addr="+addr, "-root="+site.Root, "-path="+site.Path,
			fmt.Sprint("-close=", site.Close)), nil
	case H2O, Lighttpd, Caddy, Apache:
		return otherCommand(spec, site, dir, addr)
	}
	return nil, fmt.Errorf("unknown kind %q", spec.Kind)
}

// startFserve returns how to start fserve.
func startFserve(spec Spec, site Site, dir, addr string) (*exec.Cmd, error) {
	args := []string{"--root", site.Root, "--workers", "1", "--access-log", "off"}
	if site.TLS {
		plain, err := freeAddr(site.Host)
		if err != nil {
			return nil, err
		}
		p, err := newPair(dir)
		if err != nil {
			return nil, err
		}
		args = append(args, "--tls-listen", addr, "--tls-cert", p.cert, "--tls-key", p.key)
		addr = plain
	}
	args = append(args, "--listen", addr)
	return exec.Command(spec.Binary, slices.Concat(args, site.FserveArgs, spec.Args)...), nil
}

// freeAddr returns an address of a host, empty: loopback, with a port that is free now. Another
// process may take it meanwhile; then the server says so and the run fails.
func freeAddr(host string) (string, error) {
	ln, err := net.Listen("tcp4", net.JoinHostPort(cmp.Or(host, "127.0.0.1"), "0"))
	if err != nil {
		return "", err
	}
	defer ln.Close()
	return ln.Addr().String(), nil
}

// ready waits until the server accepts a connection.
func (s *Server) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	every := time.NewTicker(5 * time.Millisecond)
	defer every.Stop()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp4", s.Addr)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-s.done:
			return fmt.Errorf("it ended: %s", s.Log())
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("it does not accept connections: %s", s.Log()), ctx.Err())
		case <-every.C:
		}
	}
}

// Log returns the end of what the server has printed.
func (s *Server) Log() string {
	f, err := os.Open(s.log)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if end, err := f.Seek(0, io.SeekEnd); err == nil {
		_, _ = f.Seek(max(0, end-logTail), io.SeekStart)
	}
	b, err := io.ReadAll(f)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(b))
}

// Pids returns the processes of the server: the one started and its descendants.
func (s *Server) Pids() ([]int, error) {
	select {
	case <-s.done:
		return nil, fmt.Errorf("%s has ended: %s", s.Name, s.Log())
	default:
		return proc.Tree(s.pid)
	}
}

// Stop ends the server and waits for it. It may be called more than once.
func (s *Server) Stop() { s.stop(stopTimeout) }

// stop gives the server some time to end in its own way.
func (s *Server) stop(patience time.Duration) {
	select {
	case <-s.done:
		return
	default:
	}
	pids, err := proc.Tree(s.pid)
	if err != nil {
		pids = []int{s.pid}
	}
	_ = syscall.Kill(s.pid, syscall.SIGTERM) // it may have ended just now
	select {
	case <-s.done:
	case <-time.After(patience):
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		<-s.done
	}
}

// Main runs the subcommand that args begin with, if it is one of a server
// that lives in this program.
func Main(args []string) (ok bool, err error) {
	if len(args) == 0 {
		return false, nil
	}
	switch Kind(args[0]) {
	case Floor:
		return true, floorMain(args[1:])
	case Embed:
		return true, embedMain(args[1:])
	case FastHTTP, NetHTTP:
		return true, stockMain(Kind(args[0]), args[1:])
	}
	return false, nil
}
