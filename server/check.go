package server

import "errors"

// Check reports what New would refuse in a Config, without serving or binding
// anything: the root, error pages and certificates are looked at. The error
// wraps ErrConfig.
func Check(cfg Config) error {
	s := &Server{cfg: cfg}
	err := errors.Join(s.prepare(), cfg.checkTLS())
	s.closeSet()
	return err
}
