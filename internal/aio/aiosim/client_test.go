package aiosim

import (
	"bytes"
	"testing"
	"time"

	"github.com/fserve/fserve/internal/aio"
)

// sendAll sends n bytes of a file from the start, waiting as often as needed,
// until the connection breaks.
func (r *rig) sendAll(tok aio.Token, f *aio.File, n int64) {
	r.t.Helper()
	for off := int64(0); off < n; {
		s := r.d.SendFile(tok, f, off, min(n-off, 1<<20), false)
		off += s.N
		switch {
		case s.Status == aio.Failed:
			return
		case s.Blocked():
			for _, e := range r.wait(time.Hour) {
				if e.Err != 0 {
					return
				}
			}
		}
	}
}

// TestHugeTransfer: gigabytes are verified without being made.
func TestHugeTransfer(t *testing.T) {
	const size = 20 << 30
	r := newRig(t, Config{})
	f := r.w.AddFile("f", size)
	c, tok := r.connect(ClientConfig{Window: 1 << 20})
	c.Expect(f.Whole())
	file := r.openFile("f")
	r.sendAll(tok, file, size)
	r.run()
	if res := c.Result(); res.Responses != 1 || res.Received != size {
		t.Fatalf("result %+v", res)
	}
	r.w.CloseFile(file.FD)
	r.end()
}

func TestReadRate(t *testing.T) {
	const size, rate = 1 << 20, 100 << 10
	for _, window := range []int64{500, 8 << 10, 1 << 20} {
		r := newRig(t, Config{})
		f := r.w.AddFile("f", size)
		c, tok := r.connect(ClientConfig{Window: window, ReadRate: rate})
		c.Expect(f.Whole())
		file := r.openFile("f")
		from := r.w.Now()
		r.sendAll(tok, file, size)
		for c.Received() < size {
			r.wait(time.Second)
		}
		took := time.Duration(r.w.Now() - from)
		if want := time.Duration(size * 1e9 / rate); took < want*95/100 || took > want*115/100 {
			t.Errorf("%d bytes at %d bytes/s took %v through a window of %d", size, rate, took, window)
		}
		r.w.CloseFile(file.FD)
		r.end()
	}
}

// shift is a Codec that adds one to each byte, and holds the last one back.
type shift struct{ last []byte }

func (*shift) Seal(p []byte) []byte {
	p = bytes.Clone(p)
	for i := range p {
		p[i]++
	}
	return p
}

func (s *shift) Open(p []byte) ([]byte, error) {
	all := append(s.last, p...)
	s.last = []byte{all[len(all)-1]}
	out := all[:len(all)-1]
	for i := range out {
		out[i]--
	}
	return out, nil
}

func TestCodec(t *testing.T) {
	r := newRig(t, Config{})
	c, tok := r.connect(ClientConfig{Codec: &shift{}, Script: []Step{Write([]byte("abc"))}})
	c.Expect(Bytes([]byte("abc")))
	var got []byte
	for len(got) < 3 {
		for _, e := range r.wait(time.Second) {
			got = append(got, e.Data...)
		}
	}
	if string(got) != "bcd" {
		t.Errorf("received %q", got)
	}
	for _, b := range []string{"bc", "dx"} {
		wantSent(t, r.d.Send(tok, []byte(b), nil, false), 2, aio.OK)
		r.run()
	}
	if res := c.Result(); res.Responses != 1 || res.Received != 3 {
		t.Errorf("%+v", res)
	}
	r.end()
}

func TestResetAtPosition(t *testing.T) {
	r := newRig(t, Config{})
	f := r.w.AddFile("f", 100_000)
	c, tok := r.connect(ClientConfig{Window: 5000, Script: []Step{Await(12_345), Reset()}})
	c.Expect(f.Whole())
	file := r.openFile("f")
	r.sendAll(tok, file, 100_000)
	if res := c.Result(); res.Received != 12_345 || !res.Left || res.WrongAt != -1 {
		t.Fatalf("result %+v", res)
	}
	r.w.CloseFile(file.FD)
	r.end()
}

func TestStopReading(t *testing.T) {
	r := newRig(t, Config{})
	c, tok := r.connect(ClientConfig{Window: 10, Script: []Step{
		Await(3), StopReading(), Sleep(time.Second), StartReading(),
	}})
	wantSent(t, r.d.Send(tok, make([]byte, 20), nil, false), 10, aio.BlockedSocket)
	r.only(aio.Ready) // three bytes were read
	wantSent(t, r.d.Send(tok, make([]byte, 10), nil, false), 3, aio.BlockedSocket)
	from := r.w.Now()
	r.only(aio.Ready)
	if r.w.Now()-from < 0.9e9 || c.Received() != 13 {
		t.Fatalf("%v went on after %d ns", c, r.w.Now()-from)
	}
	r.end()
}

// TestStoppedClientSeesReset: an RST needs no reader; a FIN is never seen.
func TestStoppedClientSeesReset(t *testing.T) {
	for reset, want := range map[bool]End{true: SawRST, false: StillOpen} {
		r := newRig(t, Config{})
		c, tok := r.connect(ClientConfig{Script: []Step{StopReading()}})
		r.run()
		wantSent(t, r.d.Send(tok, []byte("x"), nil, false), 1, aio.OK)
		r.d.Close(tok, reset)
		r.only(aio.Closed)
		r.run()
		if res := c.Result(); res.End != want || !c.Done() || res.Received != 0 {
			t.Errorf("reset %v: result %+v, done %v", reset, res, c.Done())
		}
		r.end()
	}
}

func TestSendToLeftClientBreaks(t *testing.T) {
	r := newRig(t, Config{})
	_, tok := r.connect(ClientConfig{Script: []Step{Close()}})
	if e := r.only(aio.Received); len(e.Data) != 0 || e.Err != 0 {
		t.Fatalf("event %+v", e)
	}
	wantSent(t, r.d.Send(tok, []byte("x"), nil, false), 1, aio.OK)
	r.run()
	wantSent(t, r.d.Send(tok, []byte("x"), nil, false), 0, aio.Failed)
	r.end()
}

func TestReceiveWindow(t *testing.T) {
	r := newRig(t, Config{})
	c, tok := r.connect(ClientConfig{ReceiveWindow: 10, Script: []Step{Write(make([]byte, 25)), CloseWrite()}})
	r.d.Pause(tok)
	r.run()
	if n := c.conn.arrived; n != 10 {
		t.Fatalf("%d bytes arrived in a window of 10", n)
	}
	r.d.Resume(tok)
	total := 0
	for more := true; more; {
		for _, e := range r.wait(-1) {
			total += len(e.Data)
			more = e.More
		}
	}
	if total != 25 {
		t.Errorf("%d bytes were received", total)
	}
	r.end()
}

func TestOnData(t *testing.T) {
	r := newRig(t, Config{})
	f := r.w.AddFile("f", 100)
	var got []byte
	c, tok := r.connect(ClientConfig{OnData: func(c *Client, p []byte) {
		if got = append(got, p...); len(got) == 104 {
			c.Write([]byte("thanks"))
			c.Close()
		}
	}})
	file := r.openFile("f")
	wantSent(t, r.d.Send(tok, []byte("head"), nil, true), 4, aio.OK)
	wantSent(t, r.d.SendFile(tok, file, 0, 100, false), 100, aio.OK)
	ev := r.wait(-1)
	if len(ev) != 2 || string(ev[0].Data) != "thanks" || len(ev[1].Data) != 0 {
		t.Fatalf("events %+v", ev)
	}
	want := append([]byte("head"), make([]byte, 100)...)
	f.Version().Content.Fill(want[4:], 0)
	if !bytes.Equal(got, want) || c.ID() != 0 {
		t.Errorf("client %d got %q, want %q", c.ID(), got, want)
	}
	r.w.CloseFile(file.FD)
	r.end()
}

// TestStage: what was taken is sent, whatever becomes of the file.
func TestStage(t *testing.T) {
	for _, change := range []struct {
		name string
		do   func(f *File)
	}{
		{"nothing", func(*File) {}}, {"modified", (*File).Modify}, {"cut", func(f *File) { f.Truncate(3) }},
		{"evicted", (*File).Evict},
	} {
		t.Run(change.name, func(t *testing.T) {
			r := newRig(t, Config{})
			f := r.w.AddFile("f", 1000)
			c, tok := r.connect(ClientConfig{})
			was := f.Version().Content
			want := make([]byte, 400)
			was.Fill(want, 300)
			c.Expect(Bytes(want))
			file := r.openFile("f")
			if r.d.Stage(tok, file, 900, 101) {
				t.Error("more is taken than there is")
			}
			if !r.d.Stage(tok, file, 300, 400) || r.d.Stage(tok, file, 300, 400) {
				t.Fatal("taken not at all, or twice")
			}
			change.do(f)
			wantSent(t, r.d.SendFile(tok, file, 300, 400, false), 400, aio.OK)
			r.run()
			if c.Result().Responses != 1 || r.d.Stats().Bytes[aio.ViaSplice] != 400 {
				t.Errorf("the client received %+v", c.Result())
			}
			if f.Evict(); r.d.Stage(tok, file, 300, 1) {
				t.Error("what is cold is taken")
			}
			r.w.CloseFile(file.FD)
			r.end()
		})
	}
}

// TestResetWhileReading: nothing is received after a client's own reset.
func TestResetWhileReading(t *testing.T) {
	r := newRig(t, Config{})
	c, tok := r.connect(ClientConfig{OnData: func(c *Client, _ []byte) { c.Reset() }})
	for range 3 {
		wantSent(t, r.d.Send(tok, []byte("abc"), nil, false), 3, aio.OK)
	}
	if e := r.only(aio.Received); e.Err == 0 {
		t.Fatalf("event %+v", e)
	}
	if c.Received() != 3 || c.Taken() != 9 {
		t.Errorf("%v of %d", c, c.Taken())
	}
	r.end()
}
