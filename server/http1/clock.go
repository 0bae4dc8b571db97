package http1

import (
	"time"

	"github.com/fserve/fserve/server/httpfile"
)

// clock keeps the Date of a loop, right to the second, and the time of day.
type clock struct {
	date [httpfile.DateLen]byte
	next int64 // monotonic ns: when the second changes
	base int64 // Unix ns minus monotonic ns
}

// at brings the clock to the monotonic instant now.
func (k *clock) at(now int64) {
	if now < k.next {
		return
	}
	wall := time.Now().UnixNano()
	k.base = wall - now
	k.next = now + int64(time.Second) - wall%int64(time.Second)
	httpfile.AppendDate(k.date[:0], wall/int64(time.Second))
}

func (k *clock) unix(now int64) int64 { return now + k.base }
