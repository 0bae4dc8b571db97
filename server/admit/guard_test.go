package admit

import (
	"net/netip"
	"strings"
	"testing"
)

func TestGuard(t *testing.T) {
	networks := func(list ...string) (n Networks) {
		n, err := ParseNetworks(list)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	referers, err := NewReferers([]string{"a.example"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	agents, err := NewAgents([]string{"good", "^$"}, []string{"(?i)BAD"})
	if err != nil {
		t.Fatal(err)
	}
	in, out := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("192.0.2.1")
	lan := Access{Allow: networks("10.0.0.0/8")}
	for name, c := range map[string]struct {
		guard Guard
		in    Visitor
		want  Judgement
	}{
		"nothing":              {Guard{}, Visitor{}, Passed},
		"address":              {Guard{Access: lan}, Visitor{Addr: in}, Passed},
		"other address":        {Guard{Access: lan}, Visitor{Addr: out}, ByAddress},
		"no address":           {Guard{Access: lan}, Visitor{}, ByAddress},
		"password":             {Guard{Proof: true}, Visitor{Addr: out}, Unproven},
		"both":                 {Guard{Access: lan, Proof: true}, Visitor{Addr: in}, Unproven},
		"both, other address":  {Guard{Access: lan, Proof: true}, Visitor{Addr: out}, ByAddress},
		"any":                  {Guard{Access: lan, Proof: true, Either: true}, Visitor{Addr: in}, Passed},
		"any, other address":   {Guard{Access: lan, Proof: true, Either: true}, Visitor{Addr: out}, Unproven},
		"any, no address":      {Guard{Access: lan, Proof: true, Either: true}, Visitor{}, Unproven},
		"any without rules":    {Guard{Proof: true, Either: true}, Visitor{Addr: in}, Unproven},
		"any without password": {Guard{Access: lan, Either: true}, Visitor{Addr: out}, ByAddress},
		"referer":              {Guard{Referers: referers}, Visitor{Referer: []byte("https://a.example/")}, Passed},
		"no referer":           {Guard{Referers: referers}, Visitor{}, ByReferer},
		"referer before any":   {Guard{Access: lan, Referers: referers, Proof: true, Either: true}, Visitor{Addr: in}, ByReferer},
		"agent":                {Guard{Agents: agents}, Visitor{Agent: []byte("a good one")}, Passed},
		"no agent":             {Guard{Agents: agents}, Visitor{}, Passed},
		"other agent":          {Guard{Agents: agents}, Visitor{Agent: []byte("x")}, ByAgent},
		"denied agent":         {Guard{Agents: agents}, Visitor{Agent: []byte("good, bad")}, ByAgent},
		"endless agent":        {Guard{Agents: agents}, Visitor{Agent: []byte("good" + strings.Repeat(" ", maxMatched))}, ByAgent},
	} {
		if got := c.guard.Admit(&c.in); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// As nginx's valid_referers has it.
func TestReferers(t *testing.T) {
	r, err := NewReferers([]string{
		"none", "a.example", "*.b.example", ".c.example", "www.d.*", "e.example/docs/", "*.f.example/x", `~ \.google\.`, "server_names",
	}, []string{"own.example", "*.own.example", "[2001:db8::1]"})
	if err != nil {
		t.Fatal(err)
	}
	for referer, want := range map[string]bool{
		"": true, "https://a.example": true, "HTTP://A.Example:8080/x?y": true, "https://a.example?x": true, "https://a.example.org/": false,
		"https://xa.example/": false, "https://a.example@evil.org/": false, "https://evil.org/a.example": false, "https://evil.org/?https://a.example/": false,
		"https://b.example/": false, "https://x.b.example/": true, "https://x.y.b.example/": true, "https://xb.example/": false,
		"https://c.example/": true, "https://x.c.example/": true, "https://xc.example/": false,
		"https://www.d.org/": true, "https://www.d.co.uk": true, "https://www.d/": false, "https://x.www.d.org/": false,
		"https://e.example/docs/a": true, "https://e.example:1/docs/a": true, "https://e.example/other": false, "https://e.example": false,
		"https://x.f.example/xy": true, "https://x.f.example/y": false,
		"https://www.google.com/": true, "https://WWW.GOOGLE.DE/": true, "https://google.com/": false,
		"https://own.example/": true, "https://x.own.example/": true,
		"a.example": false, "ftp://a.example/": false, "https://": false, "https:///": false,
	} {
		if got := r.Allows([]byte(referer)); got != want {
			t.Errorf("%q: %v, want %v", referer, got, want)
		}
	}
	if r, err = NewReferers([]string{"blocked"}, nil); err != nil || !r.Allows([]byte("XXXX")) || r.Allows(nil) || r.Allows([]byte("https://a.example/")) {
		t.Errorf("blocked: %v", err)
	}
	for _, all := range [][]string{nil, {"a.example", "all"}} {
		if r, err := NewReferers(all, nil); err != nil || r != nil {
			t.Errorf("%v: %v, %v", all, r, err)
		}
	}
	for _, bad := range []string{"", "https://a.example", "*", "a.*.example", "a.example:80", "a b", "~ (", "a@b", "/path"} {
		if _, err := NewReferers([]string{bad}, nil); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	for _, bad := range []string{"", "("} {
		if _, err := NewAgents(nil, []string{bad}); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestGuardDoesNotAllocate(t *testing.T) {
	r, _ := NewReferers([]string{"a.example", "*.b.example"}, nil)
	a, _ := NewAgents(nil, []string{"bad"})
	g := Guard{Referers: r, Agents: a}
	v := Visitor{Referer: []byte("https://x.b.example/y"), Agent: []byte("curl")}
	if n := testing.AllocsPerRun(100, func() { g.Admit(&v) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
