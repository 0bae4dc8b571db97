package suite

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/fserve/fserve/bench/peer"
	"github.com/fserve/fserve/bench/shape"
)

// putRate sets the limit of everything over HTTP and returns how long the answer took.
func putRate(ctx context.Context, s *peer.Server, rate string) (time.Duration, error) {
	url := "http://" + s.Admin + "/limits/global"
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, url, bytes.NewReader(fmt.Appendf(nil, `{"rate":%q}`, rate)))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	asked := shape.Clock()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("PUT %s: %s: %s", url, resp.Status, body)
	}
	return time.Duration(shape.Clock() - asked), err
}

// sleepUntil waits for the instant at, in ns of shape.Clock.
func sleepUntil(ctx context.Context, at int64) error {
	t := time.NewTimer(time.Duration(at - shape.Clock()))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
