package server

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Check reports what New would refuse in a Config, without serving or binding
// anything: the root, error pages and certificates are looked at. The error
// wraps ErrConfig.
func Check(cfg Config) error {
	s := &Server{cfg: cfg}
	s.compiler.Trial = true
	err := errors.Join(s.prepare(), cfg.checkTLS())
	s.closeSet()
	return err
}

// check reports all that is wrong with a Config but for its files. It is asked before defaults are
// filled in.
func (c *Config) check() error {
	errs := []error{c.checkLive()}
	fault := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf("%w: "+format, append([]any{ErrConfig}, args...)...))
		}
	}
	for i, r := range c.Routes {
		fault(!strings.HasPrefix(r.Prefix, "/") || r.Handler == nil, "route %q needs a handler and a prefix that begins with /", r.Prefix)
		fault(slices.ContainsFunc(c.Routes[:i], func(o Route) bool { return o.Prefix == r.Prefix }), "there are two routes with the prefix %q", r.Prefix)
	}
	for _, addr := range c.ProxyProtocol {
		fault(!slices.Contains(c.Listen, addr) && !slices.Contains(c.TLS.Listen, addr), "PROXY protocol for %q, which is no listener's address", addr)
	}
	for _, b := range []struct {
		name  string
		value int64
	}{
		{"MaxBody", c.MaxBody}, {"MaxDrain", c.MaxDrain}, {"BodyTimeout", int64(c.BodyTimeout)}, {"OpenTimeout", int64(c.OpenTimeout)},
		{"RequestLimits.MaxHead", int64(c.RequestLimits.MaxHead)}, {"RequestLimits.MaxTarget", int64(c.RequestLimits.MaxTarget)},
		{"RequestLimits.MaxFields", int64(c.RequestLimits.MaxFields)}, {"TLS.MaxConns", int64(c.TLS.MaxConns)}, {"TLS.MaxHandshakes", int64(c.TLS.MaxHandshakes)},
	} {
		fault(b.value < 0, "%s must not be negative", b.name)
	}
	for _, name := range []string{"Listeners", "NewSession", "CountClient", "Refusal", "OnShortage", "BodyHeadroom"} {
		fault(!reflect.ValueOf(c.Engine).FieldByName(name).IsZero(), "Engine.%s is set by the Server", name)
	}
	t := &c.TLS
	fault(len(t.Listen) == 0 && (t.CertFile+t.KeyFile != "" || len(t.Pairs)+len(t.HostPairs) > 0), "the certificates of TLS have no effect: TLS.Listen is empty")
	return errors.Join(errs...)
}

// checkLive is check for what Swap puts in place.
func (c *Config) checkLive() error {
	var errs []error
	if !c.hasContent() {
		errs = append(errs, fmt.Errorf("%w: neither a root nor a route", ErrConfig))
	}
	if err := c.Admission.Validate(); err != nil {
		errs = append(errs, fmt.Errorf("%w: admission: %w", ErrConfig, err))
	}
	if err := c.Breaker.Validate(); err != nil {
		errs = append(errs, fmt.Errorf("%w: breaker: %w", ErrConfig, err))
	}
	if c.Admission.Users != nil || c.Admission.Claims {
		errs = append(errs, fmt.Errorf("%w: Admission.Users and Claims are made of Identity", ErrConfig))
	}
	if c.CompressCache < 0 {
		errs = append(errs, fmt.Errorf("%w: CompressCache must not be negative", ErrConfig))
	}
	return errors.Join(errs...)
}

func (c *Config) hasContent() bool {
	return c.Root != "" || c.Release != "" || c.FS != nil || c.Redirect != (Redirect{}) || c.Respond != (Respond{}) || len(c.Hosts)+len(c.Routes) > 0
}
