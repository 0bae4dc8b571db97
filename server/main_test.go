package server_test

import (
	"os"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/fserve/fserve/internal/testenv"
)

func TestMain(m *testing.M) {
	if child := os.Getenv(childEnv); child != "" {
		os.Exit(runChild(child))
	}
	// The first head that fasthttp renders starts its clock, a goroutine that
	// never ends. It must not count as a leak of the test that comes first.
	new(fasthttp.ResponseHeader).Header()
	os.Exit(testenv.Main(m))
}
