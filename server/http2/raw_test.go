package http2_test

import (
	"bufio"
	crypto "crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"
)

// Types and flags of frames (RFC 9113 section 6).
const (
	frameData         = 0x0
	frameHeaders      = 0x1
	frameReset        = 0x3
	frameSettings     = 0x4
	framePing         = 0x6
	frameGoAway       = 0x7
	frameWindow       = 0x8
	frameContinuation = 0x9

	endStream  = 0x1
	endHeaders = 0x4
	ack        = 0x1
)

// raw is a client that sends frames as no library would.
type raw struct {
	testing.TB
	*crypto.Conn
	r *bufio.Reader
	w *bufio.Writer
}

// frame is one that was received.
type frame struct {
	typ, flags byte
	stream     uint32
	payload    []byte
}

// raw connects. window is what each stream may be sent, in bytes.
func (g *rig) raw(window uint32) *raw {
	g.Helper()
	tcp, err := net.Dial("tcp", g.addr)
	if err != nil {
		g.Fatal(err)
	}
	_ = tcp.SetDeadline(time.Now().Add(patience))
	c := &raw{TB: g.T, Conn: crypto.Client(tcp, &crypto.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})}
	g.Cleanup(func() { tcp.Close() })
	if err := c.Handshake(); err != nil {
		g.Fatal(err)
	}
	c.r, c.w = bufio.NewReader(c.Conn), bufio.NewWriterSize(c.Conn, 16<<10)
	_, _ = c.w.WriteString("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	c.send(frameSettings, 0, 0, binary.BigEndian.AppendUint32([]byte{0, 4}, window)) // INITIAL_WINDOW_SIZE
	return c
}

// put adds a frame to what is sent next.
func (c *raw) put(typ, flags byte, stream uint32, payload []byte) error {
	head := []byte{0, 0, 0, typ, flags, 0, 0, 0, 0}
	binary.BigEndian.PutUint32(head[:4], uint32(len(payload))<<8|uint32(typ))
	binary.BigEndian.PutUint32(head[5:], stream)
	_, err := c.w.Write(head)
	if err == nil {
		_, err = c.w.Write(payload)
	}
	return err
}

func (c *raw) send(typ, flags byte, stream uint32, payload []byte) {
	c.Helper()
	if err := c.put(typ, flags, stream, payload); err != nil {
		c.Fatal(err)
	}
	if err := c.w.Flush(); err != nil {
		c.Fatal(err)
	}
}

// head is the block of fields of a request (RFC 7541), nothing compressed.
func head(method, path string) (p []byte) {
	text := func(s string) { p = append(append(p, byte(len(s))), s...) }
	p = append(p, 0x87, 0x02) // :scheme https; :method
	text(method)
	p = append(p, 0x04)
	text(path)
	p = append(p, 0x01)
	text("localhost")
	return p
}

// get asks for a path.
func (c *raw) get(stream uint32, path string) {
	c.Helper()
	c.send(frameHeaders, endHeaders|endStream, stream, head("GET", path))
}

// next returns the next frame; the error is of a connection that has ended.
func (c *raw) next() (f frame, err error) {
	var h [9]byte
	if _, err := io.ReadFull(c.r, h[:]); err != nil {
		return f, err
	}
	f = frame{h[3], h[4], binary.BigEndian.Uint32(h[5:]), make([]byte, binary.BigEndian.Uint32(h[:4])>>8)}
	_, err = io.ReadFull(c.r, f.payload)
	return f, err
}

// await reads up to a frame of a type and a stream.
func (c *raw) await(typ byte, stream uint32) frame {
	c.Helper()
	for {
		f, err := c.next()
		if err != nil {
			c.Fatalf("frame %d of stream %d does not come: %v", typ, stream, err)
		}
		if f.typ == typ && f.stream == stream && (typ != frameSettings && typ != framePing || f.flags&ack != 0) {
			return f
		}
	}
}

// code is that of an error in a frame of type RST_STREAM or GOAWAY.
func (f *frame) code() uint32 { return binary.BigEndian.Uint32(f.payload[len(f.payload)-4:]) }

// wantEnd fails the test unless the server ends the connection.
func (c *raw) wantEnd() {
	c.Helper()
	for {
		if _, err := c.next(); err != nil {
			if e, ok := err.(net.Error); ok && e.Timeout() {
				c.Fatal("the connection goes on")
			}
			return
		}
	}
}

// wantAlive fails the test unless the connection goes on.
func (c *raw) wantAlive() {
	c.Helper()
	c.send(framePing, 0, 0, make([]byte, 8))
	c.await(framePing, 0)
}
