package guest

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"

	"github.com/fserve/fserve/engine/outcome"
	"github.com/fserve/fserve/internal/sys"
)

// writeBytes is what is read and written at once, in bytes: four records of TLS.
const writeBytes = 64 << 10

var writeBuffers = sync.Pool{New: func() any { return new([writeBytes]byte) }}

// writer is a Send to a connection without a descriptor of its own, as of TLS: the bytes are read and
// written.
type writer struct {
	guests *Guests
	conn   net.Conn
	lane   *lane // nil: not shaped, or by the connection of a Listener underneath
	grant  int64 // bytes that may be written before the gate is asked again
	out    outcome.Outcome
}

// write is Send to a connection that has no descriptor of its own.
func (g *Guests) write(ctx context.Context, conn net.Conn, file *os.File, off, n int64) (outcome.Outcome, error) {
	if err := g.enter(); err != nil {
		return outcome.Outcome{End: outcome.Aborted}, err
	}
	defer g.exit()
	w := &writer{guests: g, conn: conn, out: outcome.Outcome{Start: sys.Nanotime()}}
	flow, named := flowFrom(ctx)
	under, _ := unwrap(conn)
	switch {
	case under != nil && named:
		defer under.naming.lend(flow)()
	case under == nil && g.gate != nil:
		if flow.Client == "" {
			flow.Client = clientOf(conn)
		}
		w.lane = newLane()
		g.join(w.lane, flow)
	}
	stop := g.interruptible(ctx, conn)
	err := w.copy(ctx, file, off, n)
	stop()
	if w.lane != nil {
		w.out.Held = g.gate.rest(w.lane, w.grant)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() != nil {
		err = context.Cause(ctx)
	} else if err != nil && g.isCut() {
		err = ErrEnded
	}
	w.out.Duration, w.out.End = sys.Nanotime()-w.out.Start, endOf(err)
	g.written(w.out.Total(), err != nil, w.lane != nil || g.gate == nil)
	return w.out, err
}

// copy writes n bytes of the file; of negative n, what there is.
func (w *writer) copy(ctx context.Context, file *os.File, off, n int64) error {
	switch st, err := file.Stat(); {
	case err != nil:
		return err
	case !st.Mode().IsRegular():
		return ErrNotRegular
	case off < 0:
		return os.NewSyscallError("offset", syscall.EINVAL)
	case n < 0:
		n = max(st.Size()-off, 0)
	}
	buf := writeBuffers.Get().(*[writeBytes]byte)
	defer writeBuffers.Put(buf)
	for n > 0 {
		if err := w.take(ctx, n); err != nil {
			return err
		}
		p := buf[:min(n, writeBytes)]
		if w.lane != nil {
			p = p[:min(int64(len(p)), w.grant)]
		}
		read, err := file.ReadAt(p, off)
		if read == 0 {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		wrote, err := w.conn.Write(p[:read])
		if wrote > 0 && w.out.Total() == 0 {
			w.out.First = sys.Nanotime() - w.out.Start
		}
		w.out.Bytes[outcome.ViaCopy] += int64(wrote)
		w.grant, off, n = w.grant-int64(wrote), off+int64(wrote), n-int64(wrote)
		if err != nil {
			return err
		}
	}
	return nil
}

// take takes tokens for what is to be written if there are none, and reports why nothing is any more.
func (w *writer) take(ctx context.Context, n int64) (err error) {
	if w.lane == nil || w.grant > 0 {
		return ctx.Err()
	}
	if w.grant = w.guests.gate.take(w.lane, n); w.grant == 0 {
		w.grant, err = w.guests.await(ctx, nil, event{tokens: w.lane.ready})
	}
	return err
}

// written counts a Send; moved: its bytes were not counted as those of a connection of a Listener.
func (g *Guests) written(n int64, failed, moved bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stats.Sends++
	if failed {
		g.stats.Failed++
	}
	if moved {
		g.stats.Bytes[outcome.ViaCopy] += uint64(n)
	}
}
