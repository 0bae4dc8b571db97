package testenv

import (
	"os"
	"strconv"
	"testing"
)

// SeedEnv is the variable with the seed of tests that make up their input.
const SeedEnv = "FSERVE_SEED"

// Seed returns the seed of a test that makes up its input, and logs it. It is the
// number in FSERVE_SEED, or else 1, so that two runs prove the same.
func Seed(t testing.TB) uint64 {
	t.Helper()
	seed := uint64(1)
	if s := os.Getenv(SeedEnv); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("%s: %v", SeedEnv, err)
		}
	}
	t.Logf("%s=%d", SeedEnv, seed)
	return seed
}
