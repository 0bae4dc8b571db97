// Package handover brings listening sockets from one process to another: from
// systemd to a service (socket activation), and from a process to the one that
// takes its place (an upgrade).
//
// An upgrade has three steps. The predecessor starts its successor with duplicates
// of the sockets and one end of a connection between the two ([Start]). The successor
// takes the sockets that it needs ([Receive], [Sockets.Claim]), serves beside the
// predecessor and says so ([Predecessor.Ready]), or says why it cannot
// ([Predecessor.Failed]). The predecessor stops accepting and says so
// ([Successor.HandOver]); the successor learns it by [Predecessor.Gone]. Both processes
// have the same sockets, so no queue of connections is ever closed.
//
// The predecessor also sends its state, in a form of the program's own, before the
// successor serves and once more when it has changed for the last time
// ([Predecessor.States]).
package handover

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Variable names the environment variable that tells a successor which sockets it is
// given. It does not begin with FSERVE_: such variables are configuration.
const Variable = "HANDOVER_OF_FSERVE"

// firstFD is the first descriptor that a child is given beyond the standard three.
const firstFD = 3

// letter is the content of the variable. The connection to the predecessor is
// descriptor 3.
type letter struct {
	Sockets Sockets `json:"sockets"`
	States  bool    `json:"states,omitempty"` // they follow on the connection; versions before did not
}

// message is the one message of a successor, a line of JSON.
type message struct {
	Ready bool   `json:"ready"`
	Error string `json:"error,omitempty"`
}

// maxMessage bounds a message of a successor, in bytes.
const maxMessage = 64 << 10

// maxStates is how many states a predecessor sends: see Await and HandOver.
const maxStates = 2

// Predecessor is the process that this one takes the place of. Its methods may be
// called on nil: there is none.
type Predecessor struct {
	conn     *os.File
	gone     chan struct{}
	states   chan json.RawMessage
	stateful bool
	once     sync.Once
}

// Receive returns the predecessor of this process and the sockets that it gave, and
// removes them from the environment. Without a predecessor it returns nothing. The
// caller owns the sockets.
func Receive() (*Predecessor, Sockets, error) {
	text, ok := os.LookupEnv(Variable)
	if !ok {
		return nil, nil, nil
	}
	if err := os.Unsetenv(Variable); err != nil {
		return nil, nil, err
	}
	var l letter
	if err := json.Unmarshal([]byte(text), &l); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", Variable, err)
	}
	unix.CloseOnExec(firstFD)
	for _, s := range l.Sockets {
		for _, fd := range s.FDs {
			unix.CloseOnExec(fd)
		}
	}
	if err := unix.SetNonblock(firstFD, true); err != nil {
		return nil, nil, fmt.Errorf("connection to the predecessor: %w", err)
	}
	p := &Predecessor{conn: os.NewFile(firstFD, "predecessor"), gone: make(chan struct{}), states: make(chan json.RawMessage, maxStates), stateful: l.States}
	go p.listen()
	return p, l.Sockets, nil
}

// listen waits until the predecessor has stopped accepting, or has ended, and passes its
// states on.
func (p *Predecessor) listen() {
	for d := json.NewDecoder(p.conn); ; {
		var state json.RawMessage
		if d.Decode(&state) != nil {
			break
		}
		p.states <- state
	}
	_, _ = io.Copy(io.Discard, p.conn)
	close(p.states)
	close(p.gone)
}

// State returns the state of the predecessor as it was when it began the upgrade; nil:
// there is none. It waits for it, and is called once, before States.
func (p *Predecessor) State() json.RawMessage {
	if p == nil || !p.stateful {
		return nil
	}
	return <-p.states
}

// States delivers the later state of the predecessor, and is closed when Gone is.
func (p *Predecessor) States() <-chan json.RawMessage {
	if p == nil {
		return noStates
	}
	return p.states
}

var noStates = func() chan json.RawMessage { c := make(chan json.RawMessage); close(c); return c }()

// Ready tells the predecessor that this process serves.
func (p *Predecessor) Ready() error { return p.say(message{Ready: true}) }

// Failed tells the predecessor why this process is going to end. It may be called
// after Ready, and has no effect then.
func (p *Predecessor) Failed(cause error) { _ = p.say(message{Error: cause.Error()}) }

func (p *Predecessor) say(m message) (err error) {
	if p == nil {
		return nil
	}
	p.once.Do(func() {
		var line []byte
		if line, err = json.Marshal(m); err == nil {
			_, err = p.conn.Write(append(line, '\n'))
		}
	})
	if err != nil {
		return fmt.Errorf("tell the predecessor: %w", err)
	}
	return nil
}

// Gone is closed when the predecessor has stopped accepting. Without one it is
// closed already.
func (p *Predecessor) Gone() <-chan struct{} {
	if p == nil {
		return closedChan
	}
	return p.gone
}

var closedChan = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// errSilent is the error of a successor that has ended, or has closed the connection,
// without a message.
var errSilent = errors.New("it has not said that it is ready")
