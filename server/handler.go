package server

import "github.com/fserve/fserve/server/foreign"

// NewHandler returns a Handler for the part of a Config that is about files: Site,
// Locations, Hosts and Log. The rest is not used. Errors wrap ErrConfig.
func NewHandler(cfg Config) (*Handler, error) {
	s := &Server{cfg: Config{Site: cfg.Site, Locations: cfg.Locations, Hosts: cfg.Hosts, Log: cfg.Log}}
	if err := s.prepare(); err != nil {
		return nil, err
	}
	return foreign.New(s.set, s.cfg.Log), nil
}
