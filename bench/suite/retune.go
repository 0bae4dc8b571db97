package suite

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/fserve/fserve/bench/load"
	"github.com/fserve/fserve/bench/peer"
)

// putRate sets the limit of everything over HTTP and returns how long the answer took.
func putRate(ctx context.Context, s *peer.Server, rate string) (time.Duration, error) {
	url := "http://" + s.Admin + "/limits/global"
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, url, bytes.NewReader(fmt.Appendf(nil, `{"rate":%q}`, rate)))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	asked := load.Clock()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("PUT %s: %s: %s", url, resp.Status, body)
	}
	return time.Duration(load.Clock() - asked), err
}

// puts are the changes of a limit: their instants in ns of load.Clock, and how long an
// answer took at most.
type puts struct {
	at     [2]int64
	answer time.Duration
}

// putThirds sets the limit to 50 and then to 150 MiB/s, a third and two thirds after the
// beginning of a measurement.
func putThirds(ctx context.Context, s *peer.Server, began int64, third time.Duration) (p puts, err error) {
	for i, rate := range []string{"50MiB/s", "150MiB/s"} {
		if err := sleepUntil(ctx, began+int64(third)*int64(i+1)); err != nil {
			return p, err
		}
		p.at[i] = load.Clock()
		took, err := putRate(ctx, s, rate)
		if err != nil {
			return p, err
		}
		p.answer = max(p.answer, took)
	}
	return p, nil
}

// sleepUntil waits for the instant at, in ns of load.Clock.
func sleepUntil(ctx context.Context, at int64) error {
	t := time.NewTimer(time.Duration(at - load.Clock()))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
