package uring_test

import (
	"testing"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/aio/aiotest"
	"github.com/fserve/fserve/internal/testenv"
	"github.com/fserve/fserve/uring"
)

func TestConformance(t *testing.T) {
	testenv.NeedUring(t)
	aiotest.Run(t, func(t testing.TB, cfg aio.Config) aio.Driver {
		d, err := uring.New(cfg)
		if err != nil {
			t.Fatalf("new uring driver: %v", err)
		}
		return d
	})
}
