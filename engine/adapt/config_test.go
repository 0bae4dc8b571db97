package adapt

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestDefaults(t *testing.T) {
	p := policyOf(t, Config{Min: 1000, Max: 2000})
	cfg := p.Config()
	if cfg.Start != 1000 || cfg.SampleEvery != 100*time.Millisecond || cfg.Slow.Raise != 0.05 || cfg.Breaker.Trips != 3 {
		t.Errorf("%+v", cfg)
	}
	if err := cfg.Validate(); err != nil {
		t.Errorf("the defaults, spelt out: %v", err)
	}
}

func TestFaults(t *testing.T) {
	for _, c := range []struct {
		want string
		edit func(*Config)
	}{
		{"min is 0", func(c *Config) { c.Min = 0 }},
		{"min is -5", func(c *Config) { c.Min = -5 }},
		{"must not be less than min", func(c *Config) { c.Max = 999 }},
		{"must be at most", func(c *Config) { c.Max = math.MaxInt64 }},
		{"start is 5 ", func(c *Config) { c.Start = 5 }},
		{"sample_every", func(c *Config) { c.SampleEvery = time.Second }},
		{"raise is NaN", func(c *Config) { c.Slow.Raise = math.NaN() }},
		{"raise is -1", func(c *Config) { c.Slow.Raise = -1 }},
		{"drift upwards", func(c *Config) { c.Slow.LowerEvery = time.Second }},
		{"drift upwards", func(c *Config) { c.Slow.Raise = 0.07 }},
		{"loss_cut", func(c *Config) { c.Fast.LossCut = 1 }},
		{"ecn_in_row", func(c *Config) { c.Fast.ECNInRow = -1 }},
		{"breaker_loss", func(c *Config) { c.Breaker.Loss = 1.5 }},
		{"breaker_memory", func(c *Config) { c.Breaker.Memory = time.Minute }},
		{"breaker_samples", func(c *Config) { c.Breaker.Samples = -1 }},
	} {
		cfg := Config{Min: 1000, Max: 2000}
		c.edit(&cfg)
		if _, err := NewPolicy(cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("want %q, got %v", c.want, err)
		}
	}
	_, err := NewPolicy(Config{Min: -1, Max: -2, SampleEvery: time.Hour, Fast: Fast{Loss: 7}})
	if n := strings.Count(err.Error(), "\n") + 1; n < 3 {
		t.Errorf("not all at once: %v", err)
	}
}
