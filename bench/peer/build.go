package peer

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// fserveCommand is the import path of the server under development.
const fserveCommand = "github.com/fserve/fserve/cmd/fserve"

// BuildFserve builds fserve from the module around the working directory and
// returns the path of the binary, which is put into dir.
func BuildFserve(ctx context.Context, dir string) (string, error) {
	bin := filepath.Join(dir, "fserve")
	out, err := exec.CommandContext(ctx, "go", "build", "-o", bin, fserveCommand).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("building fserve: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return bin, nil
}
