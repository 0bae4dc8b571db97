package alerts

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxQueue bounds the messages that wait. When it is full the oldest message is
	// dropped, since a newer one tells more.
	maxQueue = 64
	// attempts is how often a message is tried, at growing distances: some ten minutes.
	attempts     = 12
	firstRetry   = time.Second
	longestRetry = 2 * time.Minute
	// patience bounds one attempt, whatever the receiver does.
	patience = 10 * time.Second
)

// Sender posts messages to a URL. Its methods are safe for concurrent use.
type Sender struct {
	url, token string
	client     *http.Client
	log        *slog.Logger

	mu     sync.Mutex
	queue  []*Message
	closed bool
	filled chan struct{} // has room for one: the queue is not empty

	ctx    context.Context // ends when nothing is tried any more
	cancel context.CancelFunc
	hurry  chan struct{} // closed by Close: no more pauses
	done   chan struct{}

	sent, failed, retried, dropped atomic.Uint64
}

// SenderStats counts what a Sender did.
type SenderStats struct {
	Sent    uint64 // messages that were taken
	Failed  uint64 // messages that were given up
	Retried uint64 // attempts beyond the first of a message
	Dropped uint64 // messages that found the queue full
	Waiting int    // messages
}

// NewSender returns a Sender that posts to a URL, with a bearer token if that is not
// empty, until it is closed. Redirects are not followed: they would carry
// the token elsewhere.
func NewSender(url, token string, log *slog.Logger) *Sender {
	s := &Sender{
		url: url, token: token, log: log,
		client: &http.Client{
			Timeout:       patience,
			Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConns: 1, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		filled: make(chan struct{}, 1), hurry: make(chan struct{}), done: make(chan struct{}),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	go s.run()
	return s
}

// Send queues a message. It never waits.
func (s *Sender) Send(m *Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		s.dropped.Add(1)
		return
	}
	if len(s.queue) == maxQueue {
		s.dropped.Add(1)
		s.log.Error("alert dropped: too many wait for the webhook")
		copy(s.queue, s.queue[1:])
		s.queue = s.queue[:maxQueue-1]
	}
	s.queue = append(s.queue, m)
	select {
	case s.filled <- struct{}{}:
	default:
	}
}

// Stats returns the counters.
func (s *Sender) Stats() SenderStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return SenderStats{s.sent.Load(), s.failed.Load(), s.retried.Load(), s.dropped.Load(), len(s.queue)}
}

// Close sends each waiting message once more, until ctx ends, and ends the Sender.
func (s *Sender) Close(ctx context.Context) {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.hurry)
		close(s.filled)
	}
	s.mu.Unlock()
	select {
	case <-s.done:
	case <-ctx.Done():
		s.cancel()
		<-s.done
	}
	s.cancel()
	s.client.CloseIdleConnections()
}

// run posts one message after the other.
func (s *Sender) run() {
	defer close(s.done)
	for range s.filled {
		for m := s.pop(); m != nil; m = s.pop() {
			s.deliver(m)
		}
	}
}

func (s *Sender) pop() *Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 {
		return nil
	}
	m := s.queue[0]
	s.queue[0] = nil
	s.queue = s.queue[1:]
	return m
}

// deliver sends a message again and again until the receiver takes it, or another
// attempt would be of no use.
func (s *Sender) deliver(m *Message) {
	body, err := json.Marshal(m)
	pause := firstRetry
	for i := 0; err == nil; i++ {
		if i > 0 {
			s.retried.Add(1)
		}
		var again bool
		again, err = s.post(body)
		if err == nil {
			s.sent.Add(1)
			return
		}
		if !again || i+1 == attempts || !s.pause(pause) {
			break
		}
		s.log.Warn("alert webhook: trying again", "err", err, "attempt", i+2)
		pause, err = min(pause*2, longestRetry), nil
	}
	s.failed.Add(1)
	s.log.Error("alert not delivered", "err", err)
}

// pause waits for the next attempt. It reports false if there will be none.
func (s *Sender) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-s.hurry:
		return false
	}
}

// post makes one attempt. again is set if another may help.
func (s *Sender) post(body []byte) (again bool, err error) {
	r, err := http.NewRequestWithContext(s.ctx, http.MethodPost, s.url, bytes.NewReader(body))
	if err != nil {
		return false, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "fserve")
	if s.token != "" {
		r.Header.Set("Authorization", "Bearer "+s.token)
	}
	resp, err := s.client.Do(r)
	if err != nil {
		return !errors.Is(err, context.Canceled), err
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, 4<<10) // so that the connection can be kept
	switch code := resp.StatusCode; {
	case code/100 == 2:
		return false, nil
	case code == http.StatusRequestTimeout, code == http.StatusTooManyRequests, code >= 500:
		return true, fmt.Errorf("status %d", code)
	default:
		return false, fmt.Errorf("status %d", code)
	}
}
