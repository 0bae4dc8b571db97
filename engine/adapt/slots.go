package adapt

// tally sums rounds with traffic: times in ns, amounts in bytes and segments. A float32 is
// exact to a ten-millionth, which is enough to judge by, and half the size.
type tally struct {
	span     float32 // time
	acked    float32 // bytes
	allowed  float32 // bytes that the target would have let pass
	held     float32 // time in which connections waited for tokens
	line     float32 // time in which the line was the limit
	reader   float32 // time in which the reader was the limit
	queue    float32 // queueing delay times time
	segments float32 // sent
	lost     float32 // segments sent again, less those in vain
}

func (t *tally) add(o *tally) {
	t.span += o.span
	t.acked += o.acked
	t.allowed += o.allowed
	t.held += o.held
	t.line += o.line
	t.reader += o.reader
	t.queue += o.queue
	t.segments += o.segments
	t.lost += o.lost
}

// part returns a/b, 0 if b is none.
func part(a, b float32) float64 {
	if b <= 0 {
		return 0
	}
	return float64(a) / float64(b)
}

func (t *tally) use() float64         { return part(t.acked, t.allowed) }
func (t *tally) heldPart() float64    { return part(t.held, t.span) }
func (t *tally) linePart() float64    { return part(t.line, t.span) }
func (t *tally) readerPart() float64  { return part(t.reader, t.span) }
func (t *tally) meanQueue() float64   { return part(t.queue, t.span) }
func (t *tally) lossPart() float64    { return part(t.lost, t.segments) }
func (t *tally) rate() float64        { return part(t.acked, t.span) * 1e9 }
func (t *tally) covers(ns int64) bool { return float64(t.span)*2 >= float64(ns) }

const (
	numSlots = 10
	slotSpan = 1e9 // ns
)

// slots are the last ten seconds with traffic, and the one that is being filled.
type slots struct {
	ring [numSlots]tally
	head int
	open tally
}

func (s *slots) add(t *tally) {
	s.open.add(t)
	if s.open.span >= slotSpan {
		s.ring[s.head] = s.open
		s.head = (s.head + 1) % numSlots
		s.open = tally{}
	}
}

// last is the last full slot, or the open one while there is none.
func (s *slots) last() *tally {
	if t := &s.ring[(s.head+numSlots-1)%numSlots]; t.span > 0 {
		return t
	}
	return &s.open
}

// sum adds up the full slots.
func (s *slots) sum() (t tally) {
	for i := range s.ring {
		t.add(&s.ring[i])
	}
	return t
}
