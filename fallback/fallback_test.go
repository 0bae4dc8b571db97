package fallback

import (
	"testing"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/aio/aiotest"
)

func newDriver(t testing.TB, cfg aio.Config) aio.Driver {
	t.Helper()
	d, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestConformance(t *testing.T) { aiotest.Run(t, newDriver) }
