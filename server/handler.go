package server

import (
	"fmt"
	"reflect"

	"github.com/fserve/fserve/server/foreign"
)

// NewHandler returns a Handler for the part of a Config that is about files: Site,
// Locations, Hosts, Identity, Admission, CompressCache and Log. The rest is for a server of its own: what sets any of it is
// refused. A Site without files is enough for a Handler that guards others, see Handler.Guard. Bytes are not counted: there
// are no quotas, and links with one are refused. Errors wrap ErrConfig.
func NewHandler(cfg Config) (*Handler, error) {
	s := &Server{cfg: Config{
		Site: cfg.Site, Locations: cfg.Locations, Hosts: cfg.Hosts, Identity: cfg.Identity, Admission: cfg.Admission, CompressCache: cfg.CompressCache, Log: cfg.Log,
	}}
	given, used := reflect.ValueOf(cfg), reflect.ValueOf(s.cfg)
	for i := range given.NumField() {
		if used.Field(i).IsZero() && !given.Field(i).IsZero() {
			return nil, fmt.Errorf("%w: %s has no effect in a Handler: the server that calls it listens, limits and logs", ErrConfig, given.Type().Field(i).Name)
		}
	}
	if s.cfg.hasQuotas(false) {
		return nil, fmt.Errorf("%w: a quota has no effect in a Handler: it does not count bytes", ErrConfig)
	}
	if bounds := cfg.admission(); !s.cfg.hasContent() && (cfg.Require != 0 || bounds.Limits()) {
		s.cfg.Respond = Respond{Status: 404}
	}
	s.compiler.Handler = true
	if err := s.prepare(); err != nil {
		return nil, err
	}
	return foreign.New(s.set, s.http.Admission, s.http.Forms, s.cfg.Log), nil
}
