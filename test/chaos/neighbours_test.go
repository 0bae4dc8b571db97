package chaos

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/internal/testenv"
)

// What one neighbour does must not be felt by the others. Server and the one who asks come
// before the attackers (nice), which in life are other machines.

// request is one for a path.
func request(path string) string { return "GET " + path + " HTTP/1.1\r\nHost: h\r\n\r\n" }

// asked is how long somebody waits who asks for something small, all the time, on one
// connection.
type asked struct {
	times []time.Duration
	stop  chan struct{}
	done  chan error
}

// asks begins to ask.
func (v *victim) asks() *asked {
	a := &asked{stop: make(chan struct{}), done: make(chan error, 1)}
	c, err := net.Dial("tcp", v.addr)
	if err != nil {
		v.t.Fatal(err)
	}
	go func() { a.done <- a.run(c) }()
	return a
}

func (a *asked) run(c net.Conn) error {
	defer c.Close()
	r := bufio.NewReader(c)
	for {
		select {
		case <-a.stop:
			return nil
		case <-time.After(time.Millisecond):
		}
		begin := time.Now()
		if _, err := c.Write([]byte(request("/small"))); err != nil {
			return err
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
			return errors.Join(fmt.Errorf("status %d", resp.StatusCode), err)
		}
		a.times = append(a.times, time.Since(begin))
	}
}

// end ends it, and says how long half of the answers took, and 99 of 100.
func (a *asked) end(t *testing.T) (p50, p99 time.Duration) {
	t.Helper()
	close(a.stop)
	if err := <-a.done; err != nil {
		t.Errorf("somebody else is not served: %v", err)
	}
	if len(a.times) < 100 {
		t.Fatalf("somebody else had %d answers", len(a.times))
	}
	slices.Sort(a.times)
	return a.times[len(a.times)/2], a.times[len(a.times)*99/100]
}

// onBoth runs a test for each driver, with a server of root.
func onBoth(t *testing.T, f func(t *testing.T, v *victim, root string), options ...string) {
	program := build(t)
	for _, driver := range []string{"uring", "fallback"} {
		t.Run(driver, func(t *testing.T) {
			root := t.TempDir()
			// Without the right to it, nice says so and goes on.
			f(t, start(t, root, append([]string{"nice", "-n", "-10", program, "--driver", driver}, options...)...), root)
		})
	}
}

// attacker makes this process one that attacks, as an environment variable says.
const attackerEnv = "FSERVE_CHAOS_ATTACK"

// attacker returns TestAttacker as a process of its own, which does what kind says to the server.
func (v *victim) attacker(kind string) *exec.Cmd {
	v.t.Helper()
	cmd := exec.Command("nice", "-n", "10", os.Args[0], "-test.run=^TestAttacker$")
	cmd.Env = append(os.Environ(), attackerEnv+"="+kind+" "+v.addr)
	return cmd
}

// TestAttacker is no test but the attacks, in a process of their own.
func TestAttacker(t *testing.T) {
	kind, addr, found := strings.Cut(os.Getenv(attackerEnv), " ")
	if !found {
		t.Skip("for the other tests")
	}
	switch kind {
	case "hang": // requests for files of a file system that takes its time, on as many connections
		var all sync.WaitGroup
		for i := range 12_000 {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprint(c, request(fmt.Sprintf("/slow/f%d", i%500)))
			all.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(30 * time.Second))
				_, _ = http.ReadResponse(bufio.NewReader(c), nil)
			})
		}
		all.Wait()
	case "pipeline": // five connections without end, of which everything is read
		end := time.Now().Add(5 * time.Second)
		var all sync.WaitGroup
		for range 5 {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			_ = c.SetDeadline(end)
			all.Go(func() {
				for p := []byte(strings.Repeat(request("/small"), 2000)); ; {
					if _, err := c.Write(p); err != nil {
						return
					}
				}
			})
			all.Go(func() { _, _ = io.Copy(io.Discard, c) })
		}
		all.Wait()
	case "cold": // two thousand downloads of files that are not in memory
		client := http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
		var all sync.WaitGroup
		for k := range 64 {
			all.Go(func() {
				for i := k; i < 2000; i += 64 {
					resp, err := client.Get(fmt.Sprintf("http://%s/cold/f%d", addr, i))
					if err != nil {
						t.Error(err)
						return
					}
					n, err := io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
					if err != nil || n != 300_000 {
						t.Errorf("%d: %d bytes, %v", i, n, err)
					}
				}
			})
		}
		all.Wait()
	}
}

func (v *victim) run(cmd *exec.Cmd) {
	v.t.Helper()
	if out, err := cmd.CombinedOutput(); err != nil {
		v.t.Fatalf("the attacker: %v\n%s", err, out)
	}
}

// TestHangingMount: a file system whose open takes 1.5 s gets 12,000 requests.
func TestHangingMount(t *testing.T) {
	onBoth(t, func(t *testing.T, v *victim, root string) {
		backing := t.TempDir()
		for i := range 500 {
			write(t, filepath.Join(backing, fmt.Sprintf("f%d", i)), []byte("slow"))
		}
		at := filepath.Join(root, "slow")
		if err := os.Mkdir(at, 0o700); err != nil {
			t.Fatal(err)
		}
		testenv.NewSlowFS(t, backing, at).Delay("open", 1500*time.Millisecond)
		a := v.asks()
		v.run(v.attacker("hang"))
		p50, p99 := a.end(t)
		t.Logf("somebody who asks for a hot file waits %v at the median, %v at p99", p50, p99)
		if p99 > 20*time.Millisecond {
			t.Error("a hot file waits for a file system that hangs")
		}
	})
}

// TestPipelining: five connections that ask without end leave the others their turn.
func TestPipelining(t *testing.T) {
	onBoth(t, func(t *testing.T, v *victim, _ string) {
		a := v.asks()
		v.run(v.attacker("pipeline"))
		p50, p99 := a.end(t)
		t.Logf("somebody else waits %v at the median, %v at p99", p50, p99)
		if p50 > 20*time.Millisecond {
			t.Error("the others have no turn")
		}
	})
}

// TestColdDownloads: what downloads from the disk need is given back.
func TestColdDownloads(t *testing.T) {
	onBoth(t, func(t *testing.T, v *victim, root string) {
		for i := range 2000 {
			path := filepath.Join(root, "cold", fmt.Sprintf("f%d", i))
			write(t, path, make([]byte, 300_000))
			f, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(f.Sync(), unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED), f.Close()); err != nil {
				t.Fatal(err)
			}
		}
		before := descriptors(t, v)
		v.run(v.attacker("cold"))
		ended, over := time.Now(), descriptors(t, v)
		after := over
		if !testenv.Eventually(2*time.Minute, func() bool { // what is kept goes when it was idle for 30 s
			after = descriptors(t, v)
			return after["pipe"] <= before["pipe"]
		}) || over["pipe"] > before["pipe"]+64 {
			t.Error("the pipes were not given back")
		}
		t.Logf("ends of pipes: %d before, %d when the downloads are over, %d after %v", before["pipe"], over["pipe"], after["pipe"], time.Since(ended).Round(time.Second))
	})
}

// descriptors counts the server's, by kind.
func descriptors(t *testing.T, v *victim) map[string]int {
	t.Helper()
	dir := "/proc/" + strconv.Itoa(v.cmd.Process.Pid) + "/fd"
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	n := map[string]int{}
	for _, e := range entries {
		target, _ := os.Readlink(filepath.Join(dir, e.Name()))
		kind, _, _ := strings.Cut(target, ":")
		n[kind]++
	}
	return n
}
