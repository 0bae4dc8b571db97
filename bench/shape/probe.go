package shape

import "time"

// prober makes a short request at fixed times and notes how long after that it was
// answered: a request that is late because the last one was is late itself.
type prober struct {
	exchange
	every     int64 // ns; 0: lost
	due       int64 // instant of the next request
	asked     int64 // instant at which the one under way was due
	latencies []time.Duration
	skipped   int
}

// tick makes the request that is due, once the measurement has begun.
func (p *prober) tick(r *receiver) error {
	if p.every == 0 || p.busy || r.now < max(p.due, r.begin) || r.asking < len(r.conns) {
		return nil
	}
	if p.due == 0 {
		p.due = r.now
	}
	p.asked = p.due
	for p.due += p.every; p.due < r.now; p.due += p.every {
		p.skipped++
	}
	return p.ask()
}

// receive takes what has come.
func (p *prober) receive(r *receiver) error {
	if !p.busy {
		return p.unasked(r.buf)
	}
	_, done, err := p.take(discardMost, r.buf)
	if done && err == nil {
		p.latencies = append(p.latencies, time.Duration(r.now-p.asked))
	}
	return err
}
