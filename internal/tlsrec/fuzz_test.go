package tlsrec

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"slices"
	"testing"
)

// FuzzRecords lets a peer do what the script says: seal bytes, pad them, send alerts and
// messages of the handshake, change keys, and spoil what it sends. What is opened is what was
// sealed up to there, whatever comes; an error is one that Open may give.
func FuzzRecords(f *testing.F) {
	ids := make([]uint16, 0, len(suites))
	for id := range suites {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for i := range ids {
		f.Add(uint8(i), []byte{0, 9, 1, 200, 2, 0, 0, 3})
		f.Add(uint8(i), []byte{3, 1, 0, 5, 5, 100, 0, 1})
		f.Add(uint8(i), []byte{4, 24, 0, 0, 6, 3, 7, 21})
	}
	f.Fuzz(func(t *testing.T, suite uint8, script []byte) {
		id := ids[int(suite)%len(ids)]
		u := suites[id]
		rec, err := New(&Secrets{
			Version: u.version, Suite: id, Client: secretOf(u, 1), Server: secretOf(u, 2), Master: secretOf(u, 3),
			ClientRandom: secretOf(u, 4), ServerRandom: secretOf(u, 5),
		})
		if err != nil {
			t.Fatal(err)
		}
		e := &end{rec: rec}
		p := &end{rec: e.peer(t)}
		var wire, want []byte
		spoiled := false
		for ; len(script) >= 2 && len(wire) < 1<<20; script = script[2:] {
			n, before := int(script[1]), len(wire)
			content := bytes.Repeat(script[1:2], n*n)
			switch script[0] % 8 {
			case 0, 1: // n*n bytes may be too much for one record
				wire = append(wire, p.seal(content, 1+n*64)...)
			case 2:
				if u.version == tls.VersionTLS13 && len(content) < MaxPlain {
					wire = append(wire, p.control(0, append(append(content, typeData), make([]byte, n)...)...)...)
				}
			case 3:
				if u.version == tls.VersionTLS13 {
					if wire, err = p.rec.AppendUpdate(wire); err != nil {
						t.Fatal(err)
					}
				}
				content = nil
			case 4:
				wire, content, spoiled = append(wire, p.control(typeHandshake, script[1:]...)...), nil, true
			case 5:
				wire = append(wire, content[:min(len(content), 40)]...)
				spoiled = spoiled || len(content) > 0
			case 6:
				if len(wire) > 0 {
					wire[len(wire)-1-n%len(wire)] ^= 1
					spoiled = true
				}
				content = nil
			case 7:
				wire, content, spoiled = append(wire, p.control(script[1], script[:2]...)...), nil, true
			}
			if len(wire) > before && !spoiled {
				want = append(want, content...)
			}
		}
		got, err := feed(e.rec, bytes.Clone(wire))
		var a Alert
		var pa PeerAlert
		switch {
		case err != nil && !errors.As(err, &a) && !errors.As(err, &pa) && err != io.EOF:
			t.Fatalf("error %v", err)
		case !spoiled && err == nil && !bytes.Equal(got, want):
			t.Fatalf("%d bytes, want %d", len(got), len(want))
		case !spoiled && err != nil && (!errors.Is(err, UnexpectedMessage) || !bytes.HasPrefix(want, got)):
			t.Fatalf("%v after %d bytes", err, len(got)) // too many records without data may come in a row
		}
	})
}
