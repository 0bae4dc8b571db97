package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/fserve/fserve/engine"
)

// maxUnixPath bounds the path of a Unix socket, in bytes (unix(7)).
const maxUnixPath = 107

// checkAddress reports what is wrong with the form of an address, HOST:PORT or unix:/PATH.
func checkAddress(a string) error {
	if path, unix := strings.CutPrefix(a, engine.UnixPrefix); unix {
		if len(path) > maxUnixPath {
			return fmt.Errorf("%q: the path of a Unix socket has at most %d bytes", a, maxUnixPath)
		}
		if path == "" {
			return fmt.Errorf("%q: an address is HOST:PORT or unix:/PATH", a)
		}
		return nil
	}
	host, port, err := net.SplitHostPort(a)
	if ip, e := netip.ParseAddr(strings.TrimSuffix(a, ":"+port)); err != nil && e == nil && ip.Is6() {
		return fmt.Errorf("%q: an IPv6 address stands in brackets: [::1]:8080", a)
	}
	if last := strings.LastIndexByte(a, ':'); err != nil && strings.Count(a, ":") > 1 && a[0] != '[' {
		return fmt.Errorf("%q: an IPv6 address stands in brackets: [%s]:%s", a, a[:last], a[last+1:])
	}
	if err != nil {
		hint := ""
		if _, err := strconv.ParseUint(a, 10, 16); err == nil {
			hint = "; write :" + a
		}
		return fmt.Errorf("%q: an address is HOST:PORT or unix:/PATH%s", a, hint)
	}
	if host == "*" {
		return fmt.Errorf("%q: all addresses are :%s, those of IPv4 0.0.0.0:%s", a, port, port)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return fmt.Errorf("%q: a port is a number up to 65535", a)
	}
	return nil
}

// address is one that is listened on, with the path of its value.
type address struct {
	text, path string
	role       string // the first part of path
}

// Addresses returns the addresses that are listened on by the paths of their values, as
// listen[0].
func (c *Config) Addresses() map[string]string {
	out := make(map[string]string)
	for _, a := range c.addresses() {
		out[a.path] = a.text
	}
	return out
}

func (c *Config) addresses() (list []address) {
	for i, a := range c.Listen {
		list = append(list, address{a, element("listen", i), "listen"})
	}
	for i, a := range c.TLS.Listen {
		list = append(list, address{a, element("tls.listen", i), "tls.listen"})
	}
	if c.Admin.Listen != "" {
		list = append(list, address{c.Admin.Listen, "admin.listen", "admin.listen"})
	}
	return list
}

// addresses checks those that are listened on, each by itself and with those before it.
func (v *validator) addresses() {
	var good []address
	for _, a := range v.Config.addresses() {
		err := checkAddress(a.text)
		if err == nil && a.role == "tls.listen" && strings.HasPrefix(a.text, engine.UnixPrefix) {
			err = fmt.Errorf("%q: an address is HOST:PORT", a.text)
		}
		for _, b := range good {
			if err == nil && b.clashes(a) {
				err = fmt.Errorf("%q is taken by %s: %s", a.text, b.path, b.text)
			}
		}
		if err != nil {
			v.form(a.path, "%v", err)
			continue
		}
		good = append(good, a)
	}
}

// clashes reports whether not both addresses can be listened on. Event loops may listen at
// one of the addresses of another listener of theirs; 0.0.0.0 and [::] go side by side.
func (a address) clashes(b address) bool {
	if a.text == b.text {
		return !strings.HasSuffix(a.text, ":0")
	}
	x, errX := spans(a.text)
	y, errY := spans(b.text)
	switch {
	case errX != nil || errY != nil || x.Port() != y.Port() || x.Port() == 0:
		return false
	case x.Addr() == y.Addr():
		return true
	case a.role == b.role && (a.role == "listen" || x.Addr().IsUnspecified() && y.Addr().IsUnspecified()):
		return false
	}
	covers := func(all, one netip.Addr) bool {
		return all == netip.IPv6Unspecified() || all.IsUnspecified() && one.Is4()
	}
	return covers(x.Addr(), y.Addr()) || covers(y.Addr(), x.Addr())
}

// errName is of an address with the name of a host, which may be any.
var errName = errors.New("a name")

// spans returns the literal address that is listened on; [::] is all of both protocols.
func spans(a string) (netip.AddrPort, error) {
	host, port, err := net.SplitHostPort(a)
	if err != nil {
		return netip.AddrPort{}, err
	}
	ip, n := netip.IPv6Unspecified(), 0
	if host != "" {
		if ip, err = netip.ParseAddr(host); err != nil {
			return netip.AddrPort{}, errName
		}
	}
	n, err = strconv.Atoi(port)
	return netip.AddrPortFrom(ip.Unmap(), uint16(n)), err //nolint:gosec // checkAddress has seen it
}
