package main_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fserve/fserve/internal/testenv"
)

// writePair makes a certificate and its key in dir.
func writePair(t *testing.T, dir string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return writePairOf(t, dir, private)
}

// writePairOf makes a certificate for a key.
func writePairOf(t *testing.T, dir string, private crypto.Signer) (cert, key string) {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for name, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// ask gets a URL by a connection that dial makes (nil: as usual).
func ask(t *testing.T, url string, header http.Header, dial func() (net.Conn, error)) string {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} // self-signed
	if dial != nil {
		transport.DialContext = func(context.Context, string, string) (net.Conn, error) { return dial() }
	}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if header != nil {
		req.Header = header
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestUnixAndTLSListeners(t *testing.T) {
	onBoth(t, func(t *testing.T, driver string) {
		root, _, _ := site(t)
		dir, err := os.MkdirTemp("", "fs") // a socket's path is short
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		cert, key := writePair(t, dir)
		socket := filepath.Join(dir, "s")
		p := serve(t, nil, "--root", root, driver, "--listen", "unix:"+socket, "--unix-mode", "0600",
			"--tls-listen", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key)
		if len(p.addrs) != 3 || p.addrs[1] != "unix:"+socket || !strings.HasPrefix(p.addrs[2], "https://127.0.0.1:") {
			t.Fatalf("start line %q", p.line)
		}
		if info, err := os.Stat(socket); err != nil || info.Mode() != fs.ModeSocket|0o600 {
			t.Errorf("%v, %v", info, err)
		}
		const want = "<p>hello"
		if got := ask(t, "http://unix/", nil, func() (net.Conn, error) { return net.Dial("unix", socket) }); got != want {
			t.Errorf("by the Unix socket: %q", got)
		}
		if got := ask(t, p.addrs[2]+"/", nil, nil); got != want {
			t.Errorf("by TLS: %q", got)
		}
		p.signal(syscall.SIGTERM)
		<-p.exited
		if code := p.cmd.ProcessState.ExitCode(); code != 0 {
			t.Errorf("code %d", code)
		}
		if _, err := os.Lstat(socket); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the socket is left: %v", err)
		}
	})
}

func TestTLSOnly(t *testing.T) {
	root, _, _ := site(t)
	cert, key := writePair(t, t.TempDir())
	p := serveCommand(t, exec.Command(binary, "--root", root, "--tls-listen", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key), nil)
	if len(p.addrs) != 1 || !strings.HasPrefix(p.addrs[0], "https://") {
		t.Errorf("start line %q", p.line)
	}
}

func TestNetworkFlags(t *testing.T) {
	root := t.TempDir()
	cert, key := writePair(t, t.TempDir())
	const usage, config = 2, 78
	for _, test := range []struct {
		args string
		code int
		says string
	}{
		{"--listen unix:", usage, "unix:/PATH"},
		{"--listen=", usage, "--listen needs an address"},
		{"--unix-mode 999", usage, "0660"},
		{"--unix-mode 0", usage, "0660"},
		{"--tls-listen 127.0.0.1:0", usage, "--tls-cert"},
		{"--tls-cert " + cert + " --tls-key " + key, usage, "--tls-listen"},
		{"--tls-listen unix:/x --tls-cert " + cert + " --tls-key " + key, usage, "HOST:PORT"},
		{"--tls-listen 127.0.0.1:0 --tls-cert " + cert + " --tls-key " + cert, config, "--tls-cert: " + cert},
		{"--trusted-proxies ten", usage, "ten"},
		{"--client-header via", usage, "x-forwarded-for"},
		{"--proxy-protocol 127.0.0.1:1", usage, "127.0.0.1:1"},
		{"--access-log-format xml", usage, "json"},
	} {
		r := fserve(t, nil, append([]string{"--root", root}, strings.Fields(test.args)...)...)
		if r.code != test.code || !strings.Contains(r.stderr, test.says) || strings.Count(r.stderr, "\n") != 1 {
			t.Errorf("%s: %+v; want code %d and %q", test.args, r, test.code, test.says)
		}
	}
}

// The log is moved away and opened anew, and names the client that a proxy names.
func TestLogRotation(t *testing.T) {
	root, _, _ := site(t)
	path := filepath.Join(t.TempDir(), "log")
	p := serve(t, []string{"FSERVE_ACCESS_LOG_FORMAT=json"}, "--root", root, "--access-log", path,
		"--trusted-proxies", "127.0.0.0/8,::1", "--client-header", "x-forwarded-for", "--proxy-protocol", "127.0.0.1:0")
	dial := func() (net.Conn, error) {
		conn, err := net.Dial("tcp", p.addrs[0])
		if err == nil {
			_, err = io.WriteString(conn, "PROXY TCP4 127.0.0.9 127.0.0.1 5678 80\r\n")
		}
		return conn, err
	}
	get := func(i int) {
		t.Helper()
		ask(t, fmt.Sprintf("http://h/?%d", i), http.Header{"X-Forwarded-For": {fmt.Sprintf("192.0.2.%d", i)}}, dial)
	}
	wantLine := func(path string, i int) {
		t.Helper()
		var content []byte
		want := fmt.Sprintf(`"client":"192.0.2.%d","peer":"127.0.0.9:5678"`, i)
		if !testenv.Eventually(patience, func() bool {
			content, _ = os.ReadFile(path) // it may not be there yet
			return strings.Contains(string(content), want)
		}) {
			t.Fatalf("%s: %q", want, content)
		}
	}
	get(1)
	wantLine(path, 1)
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	p.signal(syscall.SIGUSR1)
	if !testenv.Eventually(patience, func() bool { _, err := os.Stat(path); return err == nil }) {
		t.Fatal("no new log")
	}
	// The new file is there a moment before lines go to it.
	if !testenv.Eventually(patience, func() bool {
		get(2)
		content, err := os.ReadFile(path)
		return err == nil && len(content) > 0
	}) {
		t.Fatal("nothing is written to the new log")
	}
	wantLine(path, 2)
	wantLine(path+".1", 1)
}

// The process that an upgrade has replaced opens its log anew, too, while a download goes on in it.
func TestReplacedReopensLog(t *testing.T) {
	root, _, _ := site(t)
	log := filepath.Join(t.TempDir(), "log")
	l := serveLine(t, exec.Command(binary, "--root", root, "--listen", "127.0.0.1:0", "--access-log", log), nil)
	_, resp := slowDownload(t, l.addrs[0])
	old := l.upgrade()
	if err := os.Rename(log, log+".1"); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(old, syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	if !testenv.Eventually(patience, func() bool { return hasOpen(old, log) && !hasOpen(old, log+".1") }) {
		t.Fatal("the log is not opened anew")
	}
	ask(t, l.url("/?successor"), nil, nil) // which was not told
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Error(err)
	}
	resp.Body.Close()
	for name, line := range map[string]string{log: "GET /big.bin ", log + ".1": "GET /?successor "} {
		var content []byte
		if !testenv.Eventually(patience, func() bool {
			content, _ = os.ReadFile(name) // the test says what is missing
			return bytes.Count(content, []byte("\n")) == 1 && bytes.Contains(content, []byte(line))
		}) {
			t.Errorf("%s has not just %q: %q", name, line, content)
		}
	}
	l.stop()
}

// hasOpen reports whether a process has a file open.
func hasOpen(pid int, name string) bool {
	fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid)) // the pattern is good
	return slices.ContainsFunc(fds, func(fd string) bool { to, err := os.Readlink(fd); return err == nil && to == name })
}

// Without a log the signal that reopens it does no harm.
func TestSignalWithoutLog(t *testing.T) {
	root, _, _ := site(t)
	p := serve(t, nil, "--root", root)
	p.signal(syscall.SIGUSR1)
	if got := ask(t, p.url("/"), nil, nil); got != "<p>hello" {
		t.Errorf("%q", got)
	}
}
