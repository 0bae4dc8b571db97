package difftest

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/testenv"
)

// requireNginxEnv set to 1 makes a missing nginx a failure instead of a skip,
// so that a build that ought to compare does not pass without having done so.
const requireNginxEnv = "FSERVE_REQUIRE_NGINX"

// sidecarModule is the one part of nginx that is not in every build of it and
// that the comparison needs. Debian's packages have it, nginx-light too.
const sidecarModule = "http_gzip_static_module"

// nginxConfig is nginx as it comes, as far as answers go, with sidecars: the
// types are those of its mime.types that the site needs.
const nginxConfig = `daemon off;
%[1]sworker_processes 1;
pid %[2]s/pid;
error_log %[2]s/error.log;
events {
	worker_connections 256;
}
http {
	client_body_temp_path %[2]s/body;
	proxy_temp_path %[2]s/proxy;
	fastcgi_temp_path %[2]s/fastcgi;
	uwsgi_temp_path %[2]s/uwsgi;
	scgi_temp_path %[2]s/scgi;
	types {
		text/html html;
		text/plain txt;
		text/css css;
		application/javascript js;
		image/jpeg jpg;
		application/json json;
	}
	default_type application/octet-stream;
	sendfile on;
	access_log off;
	gzip_static on;
	gzip_vary on;
	server {
		listen %[3]s reuseport;
		root %[4]s;
	}
}
`

// startNginx runs the nginx of this machine over root until the end of the
// test and returns its address.
func startNginx(t *testing.T, root string) string {
	t.Helper()
	return startNginxAs(t, nginxConfig, root)
}

// startNginxAs is startNginx with a configuration that gets user, directory,
// address and what follows.
func startNginxAs(t *testing.T, config string, more ...any) string {
	t.Helper()
	binary := findNginx(t)
	dir, addr, user := t.TempDir(), freeAddr(t), ""
	if os.Geteuid() == 0 {
		user = "user root;\n" // the site lies below a directory of root
	}
	conf := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, config, append([]any{user, dir, addr}, more...)...), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "-p", dir, "-c", conf, "-e", filepath.Join(dir, "error.log"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(patience):
			cmd.Process.Kill()
			t.Errorf("nginx did not end within %v of SIGTERM", patience)
		}
	})
	up := func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err == nil
	}
	if !testenv.Eventually(patience, up) {
		log, _ := os.ReadFile(filepath.Join(dir, "error.log"))
		t.Fatalf("nginx does not listen on %s:\n%s", addr, log)
	}
	return addr
}

func findNginx(t *testing.T) string {
	t.Helper()
	// Debian's place is not in the search path of ordinary users.
	missing := "it is not installed"
	for _, name := range []string{"nginx", "/usr/sbin/nginx"} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		if options, err := exec.Command(path, "-V").CombinedOutput(); err != nil {
			t.Fatalf("%s -V: %v", path, err)
		} else if bytes.Contains(options, []byte(sidecarModule)) {
			return path
		}
		missing = "it was built without " + sidecarModule
	}
	if os.Getenv(requireNginxEnv) == "1" {
		t.Fatalf("nginx is required here (%s=1), but %s", requireNginxEnv, missing)
	}
	fmt.Fprintln(os.Stderr, "WARNING: fserve was not compared with nginx:", missing)
	t.Skipf("nginx cannot be used: %s (%s=1 makes this a failure)", missing, requireNginxEnv)
	return ""
}

// freeAddr returns a loopback address on which only processes of this user can
// listen, and by SO_REUSEPORT only: a socket holds it that does not listen.
func freeAddr(t *testing.T) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1),
		unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})); err != nil {
		t.Fatal(err)
	}
	addr, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", addr.(*unix.SockaddrInet4).Port)
}
