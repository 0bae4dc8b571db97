package server

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/fserve/fserve/server/tls"
)

// Check reports what New would refuse in a Config, without serving or binding
// anything: the root, error pages and certificates are looked at. The error
// wraps ErrConfig.
func Check(cfg Config) error {
	s := &Server{cfg: cfg}
	faults := []error{s.prepare()}
	if t := &cfg.TLS; len(t.Listen) > 0 {
		front := tls.Config{Listen: t.Listen, CertFile: t.CertFile, KeyFile: t.KeyFile, MaxConns: t.MaxConns, MaxHandshakes: t.MaxHandshakes, Log: slog.Default()}
		if err := front.Check(); err != nil {
			faults = append(faults, &Fault{Prefix: "/", Key: "tls.cert", Err: fmt.Errorf("%w: %w", ErrConfig, err)})
		}
	}
	s.closeSet()
	return errors.Join(faults...)
}
