package aio_test

import (
	"testing"
	"time"

	"github.com/fserve/fserve/internal/aio"
)

func TestSplitWait(t *testing.T) {
	const forEver = -1
	for _, c := range []struct {
		timeout     time.Duration
		hold        bool
		short, rest time.Duration
	}{
		{time.Second, false, 0, time.Second},
		{forEver, false, 0, forEver},
		{1, true, 1, 0},
		{aio.ShortWait, true, aio.ShortWait, 0},
		{aio.ShortWait + 1, true, aio.ShortWait, 1},
		{forEver, true, aio.ShortWait, forEver},
	} {
		if short, rest := aio.SplitWait(c.timeout, c.hold); short != c.short || rest != c.rest {
			t.Errorf("%v, hold %v: %v and %v, want %v and %v", c.timeout, c.hold, short, rest, c.short, c.rest)
		}
	}
}
