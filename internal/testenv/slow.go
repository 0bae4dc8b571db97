package testenv

import (
	"os"
	"strconv"
	"time"
)

// SlowEnv names the environment variable with a factor by which this machine is slower than others: an
// emulated one.
const SlowEnv = "FSERVE_SLOW"

// Patience returns how long a test waits here for what other machines do in less than d.
func Patience(d time.Duration) time.Duration {
	factor, err := strconv.Atoi(os.Getenv(SlowEnv))
	if err != nil || factor < 1 {
		return d
	}
	return time.Duration(factor) * d
}
