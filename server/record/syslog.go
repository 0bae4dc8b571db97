package record

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// SyslogPrefix begins a Target.File that is a syslog server. Parameters follow as nginx has
// them:
//
//	syslog:server=HOST[:PORT]|unix:PATH[,facility=local7][,tag=fserve][,severity=info]
const SyslogPrefix = "syslog:"

// syslogParams are the parameters of a syslog server.
type syslogParams struct {
	network, address string
	priority         int
	tag              string
}

// Names of facilities and severities (RFC 5424, 6.2.1), by number.
var (
	facilities = []string{
		"kern", "user", "mail", "daemon", "auth", "intern", "lpr", "news", "uucp", "clock", "authpriv", "ftp", "ntp", "audit",
		"alert", "cron", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
	}
	severities = []string{"emerg", "alert", "crit", "error", "warn", "notice", "info", "debug"}
)

func parseSyslog(text string) (p syslogParams, err error) {
	facility, severity := "local7", "info"
	p.tag = "fserve"
	for part := range strings.SplitSeq(text, ",") {
		name, value, ok := strings.Cut(part, "=")
		if !ok || value == "" {
			return p, fmt.Errorf("syslog: %q is not NAME=VALUE", part)
		}
		switch name {
		case "server":
			p.network, p.address = "udp", value
			if path, unix := strings.CutPrefix(value, "unix:"); unix {
				p.network, p.address = "unixgram", path
			} else if _, _, err := net.SplitHostPort(value); err != nil {
				p.address = net.JoinHostPort(strings.Trim(value, "[]"), "514")
			}
		case "facility":
			facility = value
		case "severity":
			severity = value
		case "tag":
			p.tag = value
		default:
			return p, fmt.Errorf("syslog: there is no %q; there are server, facility, severity, tag", name)
		}
	}
	f, s := slices.Index(facilities, facility), slices.Index(severities, severity)
	switch {
	case p.address == "":
		return p, errors.New("syslog: server is missing: HOST:PORT or unix:PATH")
	case f < 0:
		return p, fmt.Errorf("syslog: facility %q is none of %s", facility, strings.Join(facilities, ", "))
	case s < 0:
		return p, fmt.Errorf("syslog: severity %q is none of %s", severity, strings.Join(severities, ", "))
	case len(p.tag) > 48 || strings.ContainsFunc(p.tag, func(r rune) bool { return r <= ' ' || r > '~' }):
		return p, fmt.Errorf("syslog: tag %q is not up to 48 printable ASCII characters", p.tag)
	}
	p.priority = f*8 + s
	return p, nil
}

// maxDatagram bounds a message, in bytes. Receivers should take 2 KiB (RFC 5424, 6.1).
const maxDatagram = 8 << 10

// redialEvery is how often a socket is made anew that nobody hears.
const redialEvery = time.Second

// syslog sends lines as messages of RFC 5424, a datagram each, and never waits: one that finds
// no room in the socket is lost and counted. It is for one goroutine.
type syslog struct {
	syslogParams
	conn   net.Conn // nil: there is none now
	lost   *atomic.Uint64
	dialed time.Time
	head   []byte // what is the same in all messages, behind the time
	out    []byte
}

func openSyslog(text string, lost *atomic.Uint64) (*syslog, error) {
	p, err := parseSyslog(text)
	if err != nil {
		return nil, err
	}
	s := &syslog{syslogParams: p, lost: lost}
	s.head = fmt.Appendf(nil, " %s %s %d - - ", cmp.Or(hostname, "-"), p.tag, os.Getpid())
	if p.network == "udp" { // a name is looked up here only: that may take long
		addr, err := net.ResolveUDPAddr("udp", p.address)
		if err != nil {
			return nil, fmt.Errorf("syslog: %w", err)
		}
		s.address = addr.String()
	}
	s.dial() // who reads a Unix socket may come later
	return s, nil
}

// dial makes the socket.
func (s *syslog) dial() {
	if time.Since(s.dialed) < redialEvery {
		return
	}
	s.dialed = time.Now()
	if c, err := net.Dial(s.network, s.address); err == nil { // neither waits
		s.conn = c
	}
}

// Write implements io.Writer, for whole lines. It never fails.
func (s *syslog) Write(p []byte) (int, error) {
	now := time.Now()
	for line := range bytes.Lines(p) {
		s.out = append(strconv.AppendInt(append(s.out[:0], '<'), int64(s.priority), 10), ">1 "...)
		s.out = append(now.AppendFormat(s.out, "2006-01-02T15:04:05.000000Z07:00"), s.head...)
		s.out = append(s.out, bytes.TrimSuffix(line, []byte{'\n'})...)
		if s.out = s.out[:min(len(s.out), maxDatagram)]; !s.send() {
			s.lost.Add(1)
		}
	}
	return len(p), nil
}

// send sends the message in s.out, at the second attempt over a new socket: that of a
// receiver that was restarted is no good, and the error may be that of the message before.
func (s *syslog) send() bool {
	for range 2 {
		if s.conn == nil {
			s.dial()
		}
		if s.conn == nil {
			return false
		}
		switch err := s.sendNow(); {
		case err == nil:
			return true
		case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.ENOBUFS), errors.Is(err, syscall.EMSGSIZE):
			return false
		case s.network == "udp": // nobody listened to what was sent before
		default:
			_ = s.conn.Close()
			s.conn = nil
		}
	}
	return false
}

func (s *syslog) sendNow() error {
	raw, err := s.conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	err = raw.Write(func(fd uintptr) bool {
		sent = unix.Send(int(fd), s.out, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		return true
	})
	return errors.Join(err, sent)
}

// Close implements io.Closer.
func (s *syslog) Close() error {
	if s.conn == nil {
		return nil
	}
	return s.conn.Close()
}
