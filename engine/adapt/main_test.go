package adapt

import (
	"os"
	"testing"

	"github.com/fserve/fserve/internal/testenv"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }
