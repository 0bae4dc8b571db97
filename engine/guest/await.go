package guest

import (
	"context"
	"os"
	"time"
)

// event is what a call waits for: one of the channels.
type event struct {
	tokens <-chan int64
	done   <-chan struct{}
	timer  <-chan time.Time
}

// await waits for an event, or for what ends that: ctx, the engine, and of a
// connection of Listener (else nil) its write deadline and its end.
func (g *Guests) await(ctx context.Context, c *Conn, ev event) (tokens int64, err error) {
	for {
		poke, expiry, err := c.waiting()
		if err != nil {
			return 0, err
		}
		select {
		case tokens = <-ev.tokens:
		case <-ev.done:
		case <-ev.timer:
		case <-ctx.Done():
			err = context.Cause(ctx)
		case <-g.cut:
			err = ErrEnded
		case <-poke: // the deadline is another, or the connection is closed
			continue
		case <-expiry:
			err = os.ErrDeadlineExceeded
		}
		return tokens, err
	}
}
