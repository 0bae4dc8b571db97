package rate

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Rate
	}{
		{"10MiB/s", 10 << 20},
		{"500KB/s", 500_000},
		{"80Mbit/s", 10_000_000},
		{"1.5GB/s", 1_500_000_000},
		{"1B/s", 1},
		{"8bit/s", 1},
		{"12bit/s", 2}, // rounded
		{"0.1KiB/s", 102},
		{"1000GB/s", Max},
		{" 64 KiB/s ", 64 << 10},
		{"64kiB/s", 64 << 10},
		{"1kbit/s", 125},
		{"unlimited", Unlimited},
		{"Unlimited", Unlimited},
		{"0", Paused},
		{"0B/s", Paused},
		{"0.0MiB/s", Paused},
	} {
		got, err := Parse(c.in)
		if err != nil || got != c.want {
			t.Errorf("%q: %d, %v; want %d", c.in, got, err, c.want)
		}
	}
	for _, c := range []struct{ in, says string }{
		{"", "number"},
		{"/s", "number"},
		{"10", "tc bits"},
		{"10/s", "tc bits"},
		{"1.5", "no unit"},
		{"10MiB", "per second: write 10MiB/s"},
		{"-1MiB/s", "not negative"},
		{"NaN", "number"},
		{"NaNB/s", "number"},
		{"InfB/s", "number"},
		{"1e3B/s", "unknown unit"},
		{"1001GB/s", "more than"},
		{"99999999999999999999B/s", "too large"},
		{"9223372036854775807GiB/s", "more than"},
		{"1bit/s", "less than 1 B"},
		{"10Mb/s", "bits or bytes"},
		{"64kib/s", "bits or bytes"},
		{"10Mbps", "bits or bytes"},
		{"1.B/s", "decimal"},
		{".5KB/s", "decimal"},
		{"1.2.3KB/s", "decimal"},
		{"1.0000000001KB/s", "decimals"},
		{"10MiB/min", "unknown unit"},
		{"1 000KB/s", "unknown unit"},
		{"٣KB/s", "number"},
	} {
		if got, err := Parse(c.in); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q: %d, %v; want an error that says %q", c.in, got, err, c.says)
		}
	}
}

func TestParseSize(t *testing.T) {
	for in, want := range map[string]Size{
		"1MiB": 1 << 20, "64KB": 64_000, "1500B": 1500, "0B": 0, "1.5KiB": 1536, "8Kbit": 1000,
	} {
		if got, err := ParseSize(in); err != nil || got != want {
			t.Errorf("%q: %d, %v; want %d", in, got, err, want)
		}
	}
	for in, says := range map[string]string{
		"1500": "no unit", "1MiB/s": "unknown unit", "-1B": "not negative", "": "number", "2000000GiB": "more than",
	} {
		if got, err := ParseSize(in); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %d, %v; want an error that says %q", in, got, err, says)
		}
	}
}

func TestRateString(t *testing.T) {
	for rate, want := range map[Rate]string{
		Unlimited: "unlimited", Paused: "0B/s", 1: "1B/s", 999: "999B/s", 500_000: "500KB/s",
		10 << 20: "10MiB/s", 1536: "1536B/s", 1_500_000_000: "1500MB/s", Max: "1000GB/s",
	} {
		if got := rate.String(); got != want {
			t.Errorf("%d: %s, want %s", int64(rate), got, want)
		}
	}
}

// Whatever is accepted is a rate in bounds and survives being written and read.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"10MiB/s", "80Mbit/s", "1.5GB/s", "unlimited", "0", "10", "-1B/s", "1.999999999GiB/s"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := Parse(s)
		if err != nil {
			if r != 0 || strings.TrimSpace(err.Error()) == "" {
				t.Fatalf("%q: %d and %v", s, r, err)
			}
			return
		}
		if r < Paused || r > Max {
			t.Fatalf("%q: %d is out of bounds", s, r)
		}
		if again, err := Parse(r.String()); err != nil || again != r {
			t.Fatalf("%q: %d is written %q, read %d, %v", s, r, r.String(), again, err)
		}
	})
}

func FuzzParseSize(f *testing.F) {
	for _, s := range []string{"1MiB", "64KB", "1500B", "", "1e9B", "999999999999GiB", "0.0000001KB"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseSize(s)
		if err != nil {
			return
		}
		if n < 0 || n > MaxSize {
			t.Fatalf("%q: %d is out of bounds", s, n)
		}
		if again, err := ParseSize(n.String()); err != nil || again != n {
			t.Fatalf("%q: %d is written %q, read %d, %v", s, n, n.String(), again, err)
		}
	})
}
