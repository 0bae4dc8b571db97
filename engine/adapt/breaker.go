package adapt

// Stage is the stage of a client's breaker.
type Stage uint8

const (
	Closed   Stage = iota // nothing is wrong
	Open                  // the target is held down and nothing is probed
	HalfOpen              // the target may rise again; one anomaly opens it anew
	Frozen                // the target is the floor

	NumStages = 4
)

func (s Stage) String() string { return name(s, "closed", "open", "half-open", "frozen") }

// breaker watches the loss of a client over samples of some seconds. It only bounds the
// target: it slows a client, and never refuses one.
type breaker struct {
	stage    Stage
	row      int     // anomalies in a row
	trips    int     // within Memory
	healthy  float64 // the target after the last sample that was no anomaly, bytes/s
	most     float64 // that the target may be while the breaker is open, bytes/s
	sample   tally   // being filled
	sampleAt int64   // when the sample began
	quietAt  int64   // when the last anomaly was, or a sign of one, a trip or a freeze
	tripAt   int64   // when the last trip was
	lastLoss float64 // of the last sample that was judged
}

// turn takes a round and returns what has changed, or None. Times are of the controller's
// clock.
func (b *breaker) turn(cfg *Breaker, r *tally, target, floor float64, now int64) Kind {
	if b.row == 0 && r.lossPart() >= cfg.Loss && b.sample.lossPart() < cfg.Loss/10 {
		// Loss begins: the sample counts from here.
		b.sample, b.sampleAt = tally{}, now-int64(r.span)
		b.good(target)
	}
	b.sample.add(r)
	if now-b.sampleAt >= int64(cfg.Sample) {
		if kind := b.endSample(cfg, r, target, floor, now); kind != None {
			return kind
		}
	}
	return b.wait(cfg, now)
}

// endSample judges the sample if it has enough segments. A sample with fewer goes on; an
// empty one begins anew. r is the last round: where so much is lost that TCP spends its time
// in retransmission time-outs, no sample may ever have enough, and loss in r is a sign of
// an anomaly.
func (b *breaker) endSample(cfg *Breaker, r *tally, target, floor float64, now int64) Kind {
	loss := b.sample.lossPart()
	bad := loss >= cfg.Loss
	if b.sample.segments > 0 && b.sample.segments < float32(cfg.MinSegments) {
		if bad && r.lost > 0 && b.stage != Frozen {
			b.quietAt = now
		}
		return None
	}
	empty := b.sample.segments == 0
	b.sample, b.sampleAt = tally{}, now
	if empty {
		return None
	}
	b.lastLoss = max(loss, 0)
	return b.judge(cfg, bad, target, floor, now)
}

// judge takes a sample that is an anomaly if bad.
func (b *breaker) judge(cfg *Breaker, bad bool, target, floor float64, now int64) Kind {
	if !bad {
		b.row = 0
		b.good(target)
		return None
	}
	if b.stage != Frozen {
		b.quietAt = now
	}
	b.row++
	if b.healthy == 0 {
		b.healthy = target
	}
	if b.stage == HalfOpen || b.stage == Closed && b.row >= cfg.Samples {
		return b.trip(cfg, floor, now)
	}
	return None
}

// good keeps a target without anomalies. When an anomaly is known, the fast loop has cut
// the target long since.
func (b *breaker) good(target float64) {
	if b.stage == Closed {
		b.healthy = target
	}
}

func (b *breaker) trip(cfg *Breaker, floor float64, now int64) Kind {
	b.forget(cfg, now)
	b.trips++
	b.row, b.tripAt, b.quietAt = 0, now, now
	if b.trips >= cfg.Trips {
		b.stage = Frozen
		return Froze
	}
	b.stage, b.most = Open, max(b.healthy*cfg.Cut, floor)
	return Tripped
}

// forget drops trips that were too long ago to count. As long as they count, the controller
// is not Quiet.
func (b *breaker) forget(cfg *Breaker, now int64) {
	if b.trips > 0 && now-b.tripAt > int64(cfg.Memory) {
		b.trips = 0
	}
}

// wait moves on to the next stage after quiet time: half of it is spent open, half of it
// half-open.
func (b *breaker) wait(cfg *Breaker, now int64) Kind {
	quiet := now - b.quietAt
	switch {
	case b.stage == Closed:
		b.forget(cfg, now)
	case b.stage == Open && quiet >= int64(cfg.Quiet)/2:
		b.stage = HalfOpen
		return HalfOpened
	case b.stage == HalfOpen && quiet >= int64(cfg.Quiet):
		b.stage, b.row = Closed, 0
		return Recovered
	case b.stage == Frozen && quiet >= int64(cfg.Freeze):
		// It goes on like a trip after half of its quiet time.
		b.stage, b.trips, b.row = HalfOpen, 0, 0
		b.quietAt = now - int64(cfg.Quiet)/2
		return Thawed
	}
	return None
}

// limit returns the most that the target may be.
func (b *breaker) limit(ceiling, floor float64) float64 {
	switch b.stage {
	case Frozen:
		return floor
	case Open:
		return min(ceiling, max(b.most, floor))
	}
	return ceiling
}

// probes reports whether the target may be raised.
func (b *breaker) probes() bool { return b.stage == Closed || b.stage == HalfOpen }
