package record

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// A line is a message of RFC 5424, over UDP and over a Unix socket.
func TestSyslog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	for network, at := range map[string]string{"udp": "127.0.0.1:0", "unixgram": path} {
		conn, err := net.ListenPacket(network, at)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		server := conn.LocalAddr().String()
		if network == "unixgram" {
			server = "unix:" + path
		}
		a, err := OpenAccessLog(Target{File: "syslog:server=" + server + ",facility=local3,tag=dl,severity=notice", Template: "$status"})
		if err != nil {
			t.Fatal(err)
		}
		b := a.newBuffer()
		b.put("one two\n")
		b.put("three\n")
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		want := regexp.MustCompile(`^<157>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d) \S+ dl ` + fmt.Sprint(os.Getpid()) + ` - - (one two|three)$`)
		for range 2 {
			p := make([]byte, 1000)
			_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
			n, _, err := conn.ReadFrom(p)
			if err != nil || !want.Match(p[:n]) {
				t.Errorf("%s: %q, %v", network, p[:n], err)
			}
		}
	}
}

// Nothing waits for a receiver that does not read; what it does not take is counted. One that
// is started again gets what comes then.
func TestSyslogNeverWaits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	a, err := OpenAccessLog(Target{File: "syslog:server=unix:" + path})
	if err != nil {
		t.Fatal(err)
	}
	s := a.w.(*syslog)
	_, _ = s.Write([]byte("nobody\n"))
	if a.Dropped() != 1 {
		t.Errorf("%d lines are lost without a receiver", a.Dropped())
	}
	listen := func() net.PacketConn {
		conn, err := net.ListenPacket("unixgram", path)
		if err != nil {
			t.Fatal(err)
		}
		s.dialed = time.Time{} // a second later
		return conn
	}
	first := listen()
	line := []byte(strings.Repeat("x", 4000) + "\n")
	for range 10_000 {
		_, _ = s.Write(line)
	}
	if lost := a.Dropped(); lost < 5000 || lost > 10_000 {
		t.Errorf("%d of 10000 lines are lost", lost)
	}
	if err := errors.Join(first.Close(), ignoreMissing(os.Remove(path))); err != nil {
		t.Fatal(err)
	}
	second := listen()
	defer second.Close()
	_, _ = s.Write([]byte("again\n"))
	p := make([]byte, 1000)
	_ = second.SetReadDeadline(time.Now().Add(20 * time.Second))
	if n, _, err := second.ReadFrom(p); err != nil || !strings.HasSuffix(string(p[:n]), "again") {
		t.Errorf("%q, %v", p[:n], err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

func TestSyslogFaults(t *testing.T) {
	for text, want := range map[string]string{
		"":                           `syslog: "" is not NAME=VALUE`,
		"tag=a":                      "syslog: server is missing: HOST:PORT or unix:PATH",
		"server=a:1,facility=local9": `syslog: facility "local9" is none of kern`,
		"server=a:1,severity=loud":   `syslog: severity "loud" is none of emerg`,
		"server=a:1,tag=a b":         `syslog: tag "a b" is not`,
		"server=a:1,nohostname=1":    `syslog: there is no "nohostname"`,
	} {
		if _, err := parseSyslog(text); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
	for text, want := range map[string]string{"server=::1": "[::1]:514", "server=10.0.0.1": "10.0.0.1:514", "server=[::1]:1": "[::1]:1"} {
		if p, err := parseSyslog(text); err != nil || p.address != want {
			t.Errorf("%q: %q, %v", text, p.address, err)
		}
	}
}
