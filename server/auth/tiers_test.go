package auth

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/fserve/fserve/engine/rate"
	"github.com/fserve/fserve/server/admit"
	"github.com/fserve/fserve/server/link"
	"github.com/fserve/fserve/server/quota"
)

func networks(t testing.TB, list ...string) admit.Networks {
	return must[admit.Networks](t)(admit.ParseNetworks(list))
}

// The lower of tier, claim and link counts; a tier that is not known is the lowest; who proves
// nothing is of the smallest network.
func TestTiers(t *testing.T) {
	hash := func(key string) string { s := sha256.Sum256([]byte(key)); return hex.EncodeToString(s[:]) }
	secret := bytes.Repeat([]byte("s"), 32)
	key := link.Key{ID: "k", Secret: secret}
	var o Opener
	cfg := Config{
		Keys:  file(t, []byte("vip "+hash("vip key")+" tier=vip\nodd "+hash("odd key")+" tier=odd\nplain "+hash("plain key")+"\n")),
		Links: Links{Keys: map[string]string{"k": file(t, secret)}},
		Tiers: map[string]Tier{
			"low": {Rate: 1000, Connections: 1}, "mid": {Rate: 5000, Weight: 3, Connections: 4, Networks: networks(t, "10.0.0.0/8", "unix")},
			"vip": {Rate: 9000, Weight: 10, Networks: networks(t, "10.1.0.0/16")}, "free": {Weight: 7},
		},
		Tier: "free",
	}
	m := opened(t, &o, cfg)
	signed := func(p link.Policy) []byte {
		p.Path, p.Expires = "/", time.Now().Add(time.Hour)
		return []byte("fs=" + must[string](t)(key.Sign(&p)))
	}
	for _, c := range []struct {
		name        string
		key         string
		query       []byte
		addr        string
		tier        string
		rate        rate.Rate
		weight      int
		connections int
	}{
		{"a key", "vip key", nil, "192.0.2.1", "vip", 9000, 10, 0},
		{"a key, whatever the address", "vip key", nil, "10.0.0.1", "vip", 9000, 10, 0},
		{"a key with a tier that is not known", "odd key", nil, "10.1.0.1", "low", 1000, 0, 1},
		{"a key without a tier", "plain key", nil, "192.0.2.1", "free", 0, 7, 0},
		{"a key without a tier in a network", "plain key", nil, "10.0.0.1", "mid", 5000, 3, 4},
		{"in a smaller network", "plain key", nil, "10.1.0.1", "vip", 9000, 10, 0},
		{"a link", "", signed(link.Policy{Tier: "mid"}), "192.0.2.1", "mid", 5000, 3, 4},
		{"a link with a lower rate", "", signed(link.Policy{Tier: "mid", Rate: 70, Connections: 2}), "192.0.2.1", "mid", 70, 3, 2},
		{"a link with a higher rate", "", signed(link.Policy{Tier: "mid", Rate: 7000, Connections: 20}), "192.0.2.1", "mid", 5000, 3, 4},
		{"a link with a rate alone", "", signed(link.Policy{Rate: 7000, Connections: 20}), "192.0.2.1", "free", 7000, 7, 20},
		{"a key and a link", "vip key", signed(link.Policy{Tier: "mid", Connections: 3}), "192.0.2.1", "mid", 5000, 3, 3},
		{"a key and a higher link", "vip key", signed(link.Policy{Tier: "free"}), "192.0.2.1", "vip", 9000, 10, 0},
	} {
		a := &Asked{Key: field(c.key)}
		a.Path, a.Query, a.Client = []byte("/"), c.query, netip.MustParseAddr(c.addr)
		got, v := identify(m, ByKey|ByLink, a)
		if v != admit.Passed || got.Tier() != c.tier || got.limit.Rate != c.rate || got.limit.Weight != c.weight || got.Connections != c.connections {
			t.Errorf("%s: %v %s %+v %d", c.name, v, got.Tier(), got.limit, got.Connections)
		}
		got.Count()
	}
	var c Caller
	for addr, want := range map[string]string{"10.9.9.9": "mid", "10.1.9.9": "vip", "::1": "free"} {
		if m.Anonymous(&c, netip.MustParseAddr(addr), false); c.Tier() != want || c.User != nil {
			t.Errorf("%s: %s", addr, c.Tier())
		}
	}
	if m.Anonymous(&c, netip.Addr{}, true); c.Tier() != "mid" {
		t.Errorf("a Unix socket: %s", c.Tier())
	}
	counted := make(map[string]uint64)
	for name, n := range opened(t, &o, cfg).TierResponses() { // they go on after a reload
		counted[name] = n
	}
	if counted["mid"] != 5 || counted["vip"] != 4 || counted["low"] != 1 || counted["free"] != 2 {
		t.Errorf("%v", counted)
	}
	cfg.Tier, cfg.Tiers["bad"] = "none", Tier{Weight: 1001}
	if _, faults := o.Open(&cfg); len(faults) != 2 || !strings.Contains(faults[0].Key+faults[1].Key, "tiers[bad]tier") {
		t.Errorf("%v", faults)
	}
}

func field(s string) []byte {
	if s == "" {
		return nil
	}
	return []byte(s)
}

// Of the quotas of tier and claim the lower counts, and a claim that cannot be read is none that is free.
func TestQuotaOf(t *testing.T) {
	for claim, want := range map[any]string{
		json.Number("1023"): "1023B/day", "2GiB/month": "2GiB/month", "much": "1B/day", json.Number("-1"): "1B/day", true: "1B/day",
	} {
		if q := quotaOf(claim); q.String() != want {
			t.Errorf("%v is read as %v", claim, q)
		}
	}
	tier := &tier{Tier: Tier{Quota: quota.Limit{Bytes: 1000, Kind: quota.Day}}}
	for said, want := range map[int64]int64{0: 1000, 500: 500, 2000: 1000} {
		c := Caller{Quota: quota.Limit{Bytes: said, Kind: quota.Day}}
		if c.limited(tier); c.Quota.Bytes != want {
			t.Errorf("tier 1000, claim %d: %d", said, c.Quota.Bytes)
		}
	}
}
