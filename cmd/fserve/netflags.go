package main

import (
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/fserve/fserve/engine"
	"github.com/fserve/fserve/server"
)

// netOptions are the flags about listeners and who is behind them.
type netOptions struct {
	listen       []string
	unixMode     fileMode
	proxied      []string
	trusted      []string
	clientHeader choice[server.ClientField]
	tls          server.TLS
	flags        *pflag.FlagSet
}

// defaultListen is where fserve listens if it is told nothing else.
const defaultListen = "127.0.0.1:8080"

func (n *netOptions) register(f *pflag.FlagSet) {
	n.flags = f
	n.unixMode = 0o660
	n.clientHeader = choice[server.ClientField]{names: []string{"auto", "forwarded", "x-forwarded-for"},
		values: []server.ClientField{server.ClientFieldAuto, server.ClientFieldForwarded, server.ClientFieldXFF}}
	f.StringSliceVar(&n.listen, "listen", []string{defaultListen}, "addresses to listen on, host:port or unix:/path; repeatable")
	f.Var(&n.unixMode, "unix-mode", "mode of Unix sockets, octal")
	f.StringSliceVar(&n.tls.Listen, "tls-listen", nil, "addresses to listen on for TLS, host:port; repeatable")
	f.StringVar(&n.tls.CertFile, "tls-cert", "", "file of the certificate and its chain, PEM; read anew when it changes")
	f.StringVar(&n.tls.KeyFile, "tls-key", "", "file of the certificate's key, PEM; read anew when it changes")
	f.StringSliceVar(&n.proxied, "proxy-protocol", nil, "those of the addresses, written as there, whose connections begin with a PROXY header; repeatable")
	f.StringSliceVar(&n.trusted, "trusted-proxies", nil, "networks whose word on the client's address is taken, and unix for Unix sockets; repeatable")
	f.Var(&n.clientHeader, "client-header", "field in which trusted proxies name the client: auto, forwarded or x-forwarded-for")
}

// apply checks the flags and puts them into cfg.
func (n *netOptions) apply(cfg *server.Config) error {
	usage := func(format string, args ...any) error {
		return &exitError{exitUsage, fmt.Errorf(format, args...)}
	}
	if len(n.tls.Listen) > 0 && !n.flags.Changed("listen") {
		n.listen = nil // TLS only
	}
	if len(n.listen)+len(n.tls.Listen) == 0 {
		return usage("--listen needs an address")
	}
	for _, a := range n.listen {
		if path, unix := strings.CutPrefix(a, engine.UnixPrefix); unix && path == "" || !strings.Contains(a, ":") {
			return usage("--listen %q: an address is HOST:PORT or unix:/PATH", a)
		}
	}
	for _, a := range n.tls.Listen {
		if !strings.Contains(a, ":") || strings.HasPrefix(a, engine.UnixPrefix) {
			return usage("--tls-listen %q: an address is HOST:PORT", a)
		}
	}
	if haveTLS := len(n.tls.Listen) > 0; haveTLS != (n.tls.CertFile != "") || haveTLS != (n.tls.KeyFile != "") {
		return usage("--tls-listen, --tls-cert and --tls-key belong together")
	}
	trust, err := server.ParseTrust(n.trusted)
	if err != nil {
		return usage("--trusted-proxies: %w", err)
	}
	trust.Field = n.clientHeader.value()
	for _, a := range n.proxied {
		if !slices.Contains(n.listen, a) && !slices.Contains(n.tls.Listen, a) {
			return usage("--proxy-protocol %q: no --listen or --tls-listen has this address", a)
		}
	}
	cfg.Listen, cfg.TLS, cfg.ProxyProtocol, cfg.Trust = n.listen, n.tls, n.proxied, trust
	return nil
}

// urls returns what the server listens on, as it would be asked for.
func urls(srv *server.Server) (list []string) {
	for _, a := range srv.Addrs() {
		if a.Network() == "unix" {
			list = append(list, engine.UnixPrefix+a.String())
		} else {
			list = append(list, "http://"+a.String())
		}
	}
	for _, a := range srv.TLSAddrs() {
		list = append(list, "https://"+a.String())
	}
	return list
}

// fileMode is a flag with the permissions of a file.
type fileMode fs.FileMode

func (m *fileMode) String() string { return fmt.Sprintf("%04o", uint32(*m)) }
func (m *fileMode) Type() string   { return "mode" }

func (m *fileMode) Set(s string) error {
	v, err := strconv.ParseUint(s, 8, 32)
	if err != nil || v == 0 || v > 0o777 {
		return fmt.Errorf("%q is not a mode like 0660", s)
	}
	*m = fileMode(v)
	return nil
}
