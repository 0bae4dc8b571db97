package aiosim_test

import (
	"fmt"

	"github.com/fserve/fserve/internal/aio"
	"github.com/fserve/fserve/internal/aio/aiosim"
)

// A loop that answers whatever it receives with a file, once, and ends.
func Example() {
	w := aiosim.New(aiosim.Config{Seed: 1})
	file := w.AddFile("a", 100_000)
	c, fd := w.Connected(aiosim.ClientConfig{Script: []aiosim.Step{
		aiosim.Write([]byte("please")),
		aiosim.AwaitResponses(1),
		aiosim.Close(),
	}})
	c.Expect(file.Whole())
	if err := serveOnce(w, "a", fd); err != nil {
		fmt.Println(err)
		return
	}
	if err := w.Check(); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(c)
	// Output: client 0 (still open, 100000 bytes received, 1 of 1 responses)
}

func serveOnce(w *aiosim.World, name string, conn int32) error {
	d, err := w.NewDriver(aio.Config{})
	if err != nil {
		return err
	}
	fd, e := w.OpenFile(name)
	if e != 0 {
		return e
	}
	f := &aio.File{FD: fd}
	st, e := d.Stat(f)
	if e != 0 {
		return e
	}
	t := aio.MakeToken(0, 1)
	if err := d.Open(t, int(conn)); err != nil {
		return err
	}
	var ev [16]aio.Event
	for off, open := int64(0), true; open; {
		n, err := d.Wait(ev[:], -1)
		if err != nil {
			return err
		}
		for _, e := range ev[:n] {
			switch {
			case e.Op == aio.Closed:
				open = false
			case e.Op == aio.Received && len(e.Data) == 0:
				d.Close(t, e.Err != 0)
			default: // asked, or ready to go on
				off += d.SendFile(t, f, off, st.Size-off, false).N
			}
		}
	}
	w.CloseFile(fd)
	return d.Destroy()
}
