package server

import (
	"sync"
	"time"

	"github.com/fserve/fserve/server/quota"
)

// quotaEvery is how often it is kept what users have had.
const quotaEvery = time.Second

// quotaKeeper keeps what users have had, from when there are quotas to the end.
type quotaKeeper struct {
	end  chan struct{} // nil: it does not run
	done sync.WaitGroup
}

// hasQuotas reports whether anybody may have a quota; links: by what a link says, too.
func (c *Config) hasQuotas(links bool) bool {
	for _, t := range c.Identity.Tiers {
		if t.Quota.Bytes > 0 {
			return true
		}
	}
	for _, i := range c.Identity.Issuers {
		if i.Quota != "" {
			return true
		}
	}
	return links && len(c.Identity.Links.Keys) > 0
}

// keepQuotas begins to keep what users have had, if they have quotas. It is called by New and Swap.
func (s *Server) keepQuotas(c *Config) {
	k, dir := &s.quotas, s.cfg.QuotaDir
	if k.end != nil || dir == "" || !c.hasQuotas(true) {
		return
	}
	b := s.http.Quotas
	if err := b.Keep(dir, time.Now().Unix()); err != nil {
		s.cfg.Log.Error("what users have had cannot be kept", "err", err)
	}
	end := make(chan struct{})
	k.end = end
	k.done.Go(func() {
		tick := time.NewTicker(quotaEvery)
		defer tick.Stop()
		failed := false
		for {
			select {
			case <-end:
				return
			case <-tick.C:
			}
			err := b.Sync(time.Now().Unix())
			if was := failed; err != nil != was {
				if failed = err != nil; failed {
					s.cfg.Log.Error("what users have had cannot be kept", "err", err)
				} else {
					s.cfg.Log.Info("what users have had is kept again")
				}
			}
		}
	})
}

// endQuotas keeps the last of it.
func (s *Server) endQuotas() {
	k := &s.quotas
	if k.end == nil {
		return
	}
	close(k.end)
	k.done.Wait()
	k.end = nil
	if err := s.http.Quotas.Close(time.Now().Unix()); err != nil {
		s.cfg.Log.Error("what users have had cannot be kept", "err", err)
	}
}

// Quotas returns what counts the bytes that users have had.
func (s *Server) Quotas() *Quotas { return s.http.Quotas }

// Quotas count the bytes that users have had.
type Quotas = quota.Book
