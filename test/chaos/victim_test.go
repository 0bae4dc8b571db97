package chaos

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/fserve/fserve/internal/testenv"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

// build makes the program that is attacked, where that is wanted.
func build(t *testing.T) string {
	t.Helper()
	if os.Getenv("FSERVE_CHAOS") == "" {
		t.Skip("FSERVE_CHAOS is not set")
	}
	program := filepath.Join(t.TempDir(), "fserve")
	if out, err := exec.Command("go", "build", "-o", program, "../../cmd/fserve").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// victim is a server under attack.
type victim struct {
	t    *testing.T
	addr string
	cmd  *exec.Cmd
	log  bytes.Buffer
}

// start starts a server of root with a command, to which root and address are added.
func start(t *testing.T, root string, command ...string) *victim {
	t.Helper()
	write(t, filepath.Join(root, "small"), []byte("small"))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	v := &victim{t: t, addr: l.Addr().String()}
	l.Close()
	v.cmd = exec.Command(command[0], append(command[1:], "--root", root, "--listen", v.addr)...)
	v.cmd.Stderr = &v.log
	if err := v.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = v.cmd.Process.Kill(); _ = v.cmd.Wait() })
	if !testenv.Eventually(10*time.Second, func() bool { return v.ask() == nil }) {
		t.Fatalf("the server does not answer: %s", v.log.String())
	}
	return v
}

// ask asks for something small, as somebody else does.
func (v *victim) ask() error {
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Get("http://" + v.addr + "/small")
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if _, err = io.Copy(io.Discard, r.Body); err == nil && r.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d", r.StatusCode)
	}
	return err
}
