package clients

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"testing"
	"time"
)

// browser is a Chromium that is told what to do by its DevTools protocol, through pipes.
type browser struct {
	t       *testing.T
	cmd     *exec.Cmd
	to      *os.File
	from    *bufio.Reader
	last    int    // number of the last command
	session string // of the page
	seen    []message
}

// message is an answer, or with a Method an event.
type message struct {
	ID             int
	Method         string
	Params, Result json.RawMessage
	Error          *struct{ Message string }
}

func startBrowser(t *testing.T) *browser {
	t.Helper()
	in, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	from, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	b := &browser{t: t, to: to, from: bufio.NewReader(from), cmd: exec.Command("chromium", "--headless=new", "--no-sandbox",
		"--remote-debugging-pipe", "--user-data-dir="+home, "--no-first-run", "--disable-gpu", "--ignore-certificate-errors", "--disable-dev-shm-usage",
		"--disable-background-networking", "--disable-component-update", "--mute-audio", "about:blank")}
	b.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home}
	b.cmd.ExtraFiles = []*os.File{in, out} // descriptors 3 and 4
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in.Close()
	out.Close()
	if err := from.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.close)
	return b
}

func (b *browser) close() {
	if b.cmd != nil {
		_ = b.to.Close() // which ends it, with its children
		_ = b.cmd.Wait()
		b.cmd = nil
	}
}

// call runs a command and reads its result into out; nil: it is not looked at.
func (b *browser) call(method string, params map[string]any, out any) {
	b.t.Helper()
	b.last++
	command := map[string]any{"id": b.last, "method": method, "params": params}
	if b.session != "" && method[:len("Browser")] != "Browser" && method[:len("Target")] != "Target" {
		command["sessionId"] = b.session
	}
	text, err := json.Marshal(command)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.to.Write(append(text, 0)); err != nil {
		b.t.Fatal(err)
	}
	for {
		m := b.read()
		switch {
		case m.Method != "":
			b.seen = append(b.seen, m)
		case m.ID != b.last:
		case m.Error != nil:
			b.t.Fatalf("%s: %s", method, m.Error.Message)
		default:
			if out != nil {
				if err := json.Unmarshal(m.Result, out); err != nil {
					b.t.Fatalf("%s: %v", method, err)
				}
			}
			return
		}
	}
}

func (b *browser) read() (m message) {
	b.t.Helper()
	text, err := b.from.ReadBytes(0)
	if err == nil {
		err = json.Unmarshal(text[:len(text)-1], &m)
	}
	if err != nil {
		b.t.Fatalf("chromium: %v", err)
	}
	return m
}

// await waits for an event.
func (b *browser) await(method string, ok func(params json.RawMessage) bool) {
	b.t.Helper()
	for {
		var m message
		if len(b.seen) > 0 {
			m, b.seen = b.seen[0], b.seen[1:]
		} else {
			m = b.read()
		}
		if m.Method == method && ok(m.Params) {
			return
		}
	}
}

// open loads a page.
func (b *browser) open(url string) {
	b.t.Helper()
	var target struct{ TargetID string }
	b.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	b.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	b.session = attached.SessionID
	b.call("Page.enable", nil, nil)
	b.seen = nil
	b.call("Page.navigate", map[string]any{"url": url}, nil)
	b.await("Page.loadEventFired", func(json.RawMessage) bool { return true })
}

// download puts downloads into a directory.
func (b *browser) download(dir string) {
	b.t.Helper()
	b.call("Browser.setDownloadBehavior", map[string]any{"behavior": "allow", "downloadPath": dir, "eventsEnabled": true}, nil)
}

// eval evaluates an expression in the page, which may be a promise.
func (b *browser) eval(expression string, out any) {
	b.t.Helper()
	var result struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails json.RawMessage
	}
	b.call("Runtime.evaluate", map[string]any{"expression": expression, "awaitPromise": true, "returnByValue": true}, &result)
	if result.ExceptionDetails != nil {
		b.t.Fatalf("%s", result.ExceptionDetails)
	}
	if err := json.Unmarshal(result.Result.Value, out); err != nil {
		b.t.Fatalf("%v: %s", err, result.Result.Value)
	}
}
