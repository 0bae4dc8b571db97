package shape

import "github.com/fserve/fserve/engine/rate"

const (
	second = int64(1e9)
	never  = rate.Never
)

// bucket is the token bucket of a limit. Of a node that loops share it has the
// limit, and as tokens what the tree has leased.
type bucket struct {
	rate.Bucket
	most int64 // bytes of the largest grant
}

// open makes a new bucket for l.
func (b *bucket) open(l Limit, now int64) {
	b.Bucket = rate.Bucket{Rate: l.Rate, Burst: l.burst(), Tokens: l.start(), Last: now}
	b.most = l.most()
}

// set sets the limit and nothing else.
func (b *bucket) set(l Limit) { b.Rate, b.Burst, b.most = l.Rate, l.burst(), l.most() }

// retune changes the limit as of the instant now; see [rate.Bucket.Retune].
func (b *bucket) retune(l Limit, now int64) {
	b.Retune(l.Rate, l.burst(), now)
	b.most = l.most()
}

// is reports whether the bucket is one for l.
func (b *bucket) is(l Limit) bool { return b.Rate == l.Rate && b.Burst == l.burst() }
