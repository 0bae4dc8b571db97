package server

import (
	"errors"
	"fmt"

	"github.com/fserve/fserve/server/tls"
)

// Check reports what New would refuse in a Config, without serving or binding
// anything: the root, error pages and certificates are looked at. The error
// wraps ErrConfig.
func Check(cfg Config) error {
	s := &Server{cfg: cfg}
	faults := []error{s.prepare()}
	if t := &cfg.TLS; len(t.Listen) > 0 {
		if err := tls.Check(t.CertFile, t.KeyFile); err != nil {
			faults = append(faults, fmt.Errorf("%w: %w", ErrConfig, err))
		}
	}
	s.closeSet()
	return errors.Join(faults...)
}
