package release

import (
	"encoding/binary"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"
)

var two = Config{Stable: Version{Name: "v1", Root: "/1"}, Canary: Version{Name: "v2", Root: "/2"}}

// at returns a release with a share of the canary.
func at(c Config, weight float64) *Release {
	c.Steps = []Step{{Weight: weight}}
	c = c.WithDefaults()
	return New("web", c, NewState(&c))
}

func client(i int) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], uint32(i)+10<<24)
	return netip.AddrFrom4(b)
}

// Of a million clients the share that gets the canary is the weight, and whoever has it keeps it while
// the weight rises, and has it back first when it falls.
func TestShareOfAMillion(t *testing.T) {
	const clients = 1_000_000
	had := make([]bool, clients)
	for _, weight := range []float64{0, 0.01, 0.05, 0.2, 0.5, 1} {
		r, n, back := at(two, weight), 0, 0
		for i := range clients {
			got := r.Choose(&Request{Client: client(i)}) == Canary
			if got {
				n++
			} else if had[i] {
				back++
			}
			had[i] = got
		}
		share := float64(n) / clients
		t.Logf("weight %v%%: share %.3f%%, moved back %d", weight*100, share*100, back)
		if math.Abs(share-weight) > 0.001 || back > 0 {
			t.Errorf("weight %v: share %v, %d were moved back", weight, share, back)
		}
	}
}

// Two releases have other first clients.
func TestNamesSalt(t *testing.T) {
	c := two
	c.Steps = []Step{{Weight: 0.1}}
	c = c.WithDefaults()
	a, b, both := New("a", c, NewState(&c)), New("b", c, NewState(&c)), 0
	for i := range 10_000 {
		q := &Request{Client: client(i)}
		if a.Choose(q) == Canary && b.Choose(q) == Canary {
			both++
		}
	}
	if both < 50 || both > 150 { // 100 by chance
		t.Errorf("%d of 10,000 are among the first of both", both)
	}
}

func TestSubjects(t *testing.T) {
	c := two
	c.Subject = []Subject{{ByUser, ""}, {ByHeader, "X-Device"}, {ByCookie, "id"}, {ByClient, ""}}
	r := at(c, 0.5)
	fields := func(values ...string) (q Request) {
		q.Client = client(7)
		for i := 0; i+1 < len(values); i += 2 {
			if at := r.FieldAt([]byte(values[i])); at >= 0 {
				q.Values[at] = []byte(values[i+1])
			}
		}
		return q
	}
	user := fields("X-Device", "d")
	user.User = []byte("u")
	far := fields("x-device", "d")
	far.Client = client(8)
	for _, same := range [][2]Request{
		{user, {User: []byte("u")}},
		{fields("X-DEVICE", "d", "cookie", "id=1"), far},
		{fields("Cookie", "a=b; id=1"), fields("cookie", "id=1;x=y")},
		{fields("Cookie", "idx=1"), {Client: client(7)}},
		{{Client: netip.MustParseAddr("2001:db8::1")}, {Client: netip.MustParseAddr("2001:db8::2")}},
		{{Client: netip.MustParseAddr("::ffff:10.1.2.3")}, {Client: netip.MustParseAddr("10.1.2.3")}},
	} {
		if a, b := r.point(&same[0]), r.point(&same[1]); a != b {
			t.Errorf("%v and %v: %d and %d", same[0], same[1], a, b)
		}
	}
	if r.point(&user) == r.point(&far) {
		t.Error("a user is as the device")
	}
	if nobody := at(two, 0.99); nobody.Choose(&Request{}) != Stable {
		t.Error("who cannot be told is among the first")
	}
}

func TestConfigFaults(t *testing.T) {
	step := func(w ...float64) (list []Step) {
		for _, w := range w {
			list = append(list, Step{Weight: w})
		}
		return list
	}
	for _, c := range []struct {
		want   string // what the faults begin with
		change func(*Config)
	}{
		{"", func(*Config) {}},
		{"stable: the stable version is missing", func(c *Config) { c.Stable = Version{} }},
		{`canary.name: "v1" is the name of the stable`, func(c *Config) { c.Canary.Name = "v1" }},
		{"canary.root: /1 is the root of the stable", func(c *Config) { c.Canary.Root = "/1" }},
		{`canary.name: "a b" is not a name`, func(c *Config) { c.Canary.Name = "a b" }},
		{"steps[0].weight: 101%: a weight is", func(c *Config) { c.Steps = step(1.01) }},
		{"steps[1].weight: 1% is less than the 5% before", func(c *Config) { c.Steps = step(0.05, 0.01) }},
		{"steps[0].hold: 1s: nothing follows", func(c *Config) { c.Steps = []Step{{Hold: time.Second}} }},
		{"rollback.window: 1h0m0s", func(c *Config) { c.Rollback.Window = time.Hour }},
		{"rollback.errors: 200%", func(c *Config) { c.Rollback.Errors = 2 }},
		{"", func(c *Config) { c.Rollback.Errors = -1 }}, // 0% of a file
		{"rollback.window: 1ms", func(c *Config) { c.Rollback.Window = time.Millisecond }},
		{"rollback.responses: -1", func(c *Config) { c.Rollback.Responses = -1 }},
		{"steps[0].hold: -1s", func(c *Config) { c.Steps = []Step{{Hold: -time.Second}} }},
		{"subject[0]: the name is missing", func(c *Config) { c.Subject = []Subject{{Kind: ByCookie}} }},
	} {
		cfg := two
		c.change(&cfg)
		cfg = cfg.WithDefaults()
		got := ""
		for _, err := range cfg.Check() {
			got += err.Error() + "\n"
		}
		if (got == "") != (c.want == "") || !strings.HasPrefix(got, c.want) {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

func BenchmarkChoose(b *testing.B) {
	r, q := at(two, 0.05), &Request{Client: client(1)}
	b.ReportAllocs()
	for b.Loop() {
		r.Choose(q)
	}
}
