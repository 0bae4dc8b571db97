package adapt

// Stage is the stage of a client's breaker.
type Stage uint8

const (
	Closed   Stage = iota // nothing is wrong
	Open                  // the target is held down and nothing is probed
	HalfOpen              // the target may rise again; one anomaly opens the breaker anew
	Frozen                // the target is the floor

	NumStages = 4
)

func (s Stage) String() string { return name(s, "closed", "open", "half-open", "frozen") }

// breaker watches the loss of a client over samples of some seconds. Its only
// effect is a cap of the target: it slows, it never refuses.
type breaker struct {
	stage    Stage
	row      int     // anomalies in a row
	trips    int     // within Memory
	healthy  float64 // the target after the last sample that was none, bytes/s
	most     float64 // that the target may be while it is open, bytes/s
	sample   tally   // being filled
	sampleAt int64   // it began then
	quietAt  int64   // the last anomaly or sign of one, the trip, or the freeze
	tripAt   int64   // the last trip
	lastLoss float64 // of the last sample that counted
}

// turn takes what a round saw and returns what changed, if anything did. Times
// are of the controller's own clock.
func (b *breaker) turn(cfg *Breaker, r *tally, target, floor float64, now int64) Kind {
	if b.row == 0 && r.lossPart() >= cfg.Loss && b.sample.lossPart() < cfg.Loss/10 {
		// Loss begins: count from here, not from wherever the sample began.
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

// endSample judges the sample if enough was sent in it to tell. If not it goes on,
// unless it is empty: where so much is lost that TCP spends its time in retransmission
// time-outs, no sample would ever have enough. r is its last round.
func (b *breaker) endSample(cfg *Breaker, r *tally, target, floor float64, now int64) Kind {
	loss := b.sample.lossPart()
	bad := loss >= cfg.Loss
	if b.sample.segments > 0 && b.sample.segments < float32(cfg.MinSegments) {
		if bad && r.lost > 0 && b.stage != Frozen {
			b.quietAt = now // no anomaly yet, but not quiet either
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

// judge takes a sample.
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

// good takes note of a target without anomalies: by the time that one is known the
// fast loop has cut it.
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

// forget forgets trips that were too long ago to count: until then the client is not
// forgotten either, see Controller.Quiet.
func (b *breaker) forget(cfg *Breaker, now int64) {
	if b.trips > 0 && now-b.tripAt > int64(cfg.Memory) {
		b.trips = 0
	}
}

// wait moves on after quiet time. Half of it is spent open, half of it half-open.
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
		// As after a trip that has been quiet for half of its time.
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

// probes tells whether the target may be raised.
func (b *breaker) probes() bool { return b.stage == Closed || b.stage == HalfOpen }
