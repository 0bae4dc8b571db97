// Package chaos attacks a server, with memory in a control group of 256 MiB: it must live, serve others
// meanwhile, and give the memory back. It runs with FSERVE_CHAOS set, as root: make chaos.
package chaos

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	memory = 256 << 20 // of the control group, in bytes
	crowd  = 4000      // connections
	back   = 10 * time.Second
)

// group is a control group with a bound of memory.
type group struct {
	t                   *testing.T
	dir, procs, current string
}

// newGroup makes one, of version 2 or 1, whichever this machine has.
func newGroup(t *testing.T) *group {
	t.Helper()
	for _, v := range []struct{ dir, limit, current string }{
		{"/sys/fs/cgroup/memory/fserve-chaos", "memory.limit_in_bytes", "memory.usage_in_bytes"},
		{"/sys/fs/cgroup/fserve-chaos", "memory.max", "memory.current"},
	} {
		if os.Mkdir(v.dir, 0o755) != nil {
			continue
		}
		t.Cleanup(func() { os.Remove(v.dir) })
		if os.WriteFile(filepath.Join(v.dir, v.limit), []byte(strconv.Itoa(memory)), 0o600) == nil {
			return &group{t, v.dir, filepath.Join(v.dir, "cgroup.procs"), filepath.Join(v.dir, v.current)}
		}
	}
	t.Skip("no control group with a bound of memory can be made")
	return nil
}

// resident returns the process's own memory, in bytes: what the group counts has pages of
// files too, which the kernel takes back by itself.
func resident(t *testing.T, pid int) (n int64) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatalf("the server has ended: %v", err)
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			n, _ = strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
		}
	}
	return n << 10
}

// start starts a server in the group.
func (g *group) start(program, driver string) *victim {
	g.t.Helper()
	root := g.t.TempDir()
	write(g.t, filepath.Join(root, "f"), make([]byte, 8<<20))
	for i := range 3000 { // a listing of more than a megabyte
		write(g.t, filepath.Join(root, "many", fmt.Sprintf("a-file-with-a-name-of-some-length-%06d.tar.gz", i)), nil)
	}
	return start(g.t, root, "/bin/sh", "-c", "echo $$ > "+g.procs+` && exec "$0" "$@"`, program, "--driver", driver,
		"--listing", "--access-log", filepath.Join(g.t.TempDir(), "log"), "--access-log-format", "json")
}

// attack sends p on many connections, of which it reads nothing, and asks meanwhile.
func (v *victim) attack(p []byte) {
	v.t.Helper()
	before := resident(v.t, v.cmd.Process.Pid)
	var conns []net.Conn
	failed := 0
	for i := range crowd {
		c, err := net.DialTimeout("tcp", v.addr, 5*time.Second)
		if err != nil {
			v.t.Fatalf("connection %d: %v", i, err)
		}
		conns = append(conns, c)
		_ = c.(*net.TCPConn).SetReadBuffer(4 << 10)
		_ = c.SetWriteDeadline(time.Now().Add(5 * time.Millisecond))
		_, _ = c.Write(p)
		if i%(crowd/20) == 0 && v.ask() != nil {
			failed++
		}
	}
	most := resident(v.t, v.cmd.Process.Pid)
	if err := v.ask(); err != nil || failed > 0 {
		v.t.Errorf("of others %d of 20 were not served, the last one: %v\n%s", failed, err, v.log.String())
	}
	for _, c := range conns {
		c.Close()
	}
	end := time.Now()
	after := most
	for time.Since(end) < back && after > before+memory/8 {
		time.Sleep(time.Second)
		after = resident(v.t, v.cmd.Process.Pid)
	}
	v.t.Logf("%d MiB before, %d under attack, %d after %v", before>>20, most>>20, after>>20, time.Since(end).Round(time.Second))
	if after > before+memory/8 {
		v.t.Errorf("the memory did not come back")
	}
}

func TestMemory(t *testing.T) {
	program := build(t)
	get := func(path, field string) string { return "GET " + path + " HTTP/1.1\r\nHost: h\r\n" + field + "\r\n" }
	agent := "User-Agent: " + strings.Repeat("\t", 7000) + "\r\n"
	for _, driver := range []string{"uring", "fallback"} {
		for name, p := range map[string]string{
			"pipelined":   get("/f", "") + strings.Repeat(get("/f", ""), 2000),
			"half a head": strings.TrimSuffix(get("/f", "A: "+strings.Repeat("x", 15_000)+"\r\n"), "\r\n"),
			"half a body": "POST /f HTTP/1.1\r\nHost: h\r\nContent-Length: 60000\r\n\r\n" + strings.Repeat("x", 50_000),
			"long agents": get("/f", agent),
			"listings":    get("/many/", ""),
		} {
			t.Run(driver+"/"+name, func(t *testing.T) { newGroup(t).start(program, driver).attack([]byte(p)) })
		}
	}
}
