package suite

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/fserve/fserve/bench/peer"
)

// verifyTimeout bounds one request of the verification, bodies of 1 GiB included.
const verifyTimeout = time.Minute

// span is a part of a file; a zero length means all of it.
type span struct{ off, len int64 }

// verifier compares what servers send with the files on disk.
type verifier struct {
	root   string
	client *http.Client
}

func newVerifier(root string) *verifier {
	return &verifier{root: root, client: &http.Client{
		Timeout:   verifyTimeout,
		Transport: &http.Transport{DisableCompression: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
	}}
}

// close drops the connections that are kept alive, since an idle one would
// still count as memory of its server.
func (v *verifier) close() { v.client.CloseIdleConnections() }

// whole checks a response with a whole file, twice on one connection, or on
// two if the server is asked to close.
func (v *verifier) whole(ctx context.Context, s *peer.Server, f file, closing bool) error {
	for range 2 {
		if err := v.get(ctx, s, f, span{}, closing); err != nil {
			return fmt.Errorf("verifying %s of %s: %w", f.name, s.Name, err)
		}
	}
	return nil
}

// ranges checks the first, the last and some other ranges of a file.
func (v *verifier) ranges(ctx context.Context, s *peer.Server, f file, size int64) error {
	spans := []span{{0, size}, {f.size - size, size}}
	for range 8 {
		spans = append(spans, span{rand.Int64N(f.size/size) * size, size})
	}
	for _, p := range spans {
		if err := v.get(ctx, s, f, p, false); err != nil {
			return fmt.Errorf("verifying %d bytes at %d of %s of %s: %w", p.len, p.off, f.name, s.Name, err)
		}
	}
	return nil
}

// get makes one request and compares the response.
func (v *verifier) get(ctx context.Context, s *peer.Server, f file, p span, closing bool) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL()+f.path(), nil)
	if err != nil {
		return err
	}
	req.Close = closing
	status, want := http.StatusOK, f.size
	if p.len > 0 {
		status, want = http.StatusPartialContent, p.len
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", p.off, p.off+p.len-1))
	}
	resp, err := v.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	switch cr := fmt.Sprintf("bytes %d-%d/%d", p.off, p.off+p.len-1, f.size); {
	case resp.StatusCode != status:
		return fmt.Errorf("status %d instead of %d", resp.StatusCode, status)
	case resp.ContentLength != want:
		return fmt.Errorf("Content-Length %d instead of %d", resp.ContentLength, want)
	case p.len > 0 && resp.Header.Get("Content-Range") != cr:
		return fmt.Errorf("Content-Range %q instead of %q", resp.Header.Get("Content-Range"), cr)
	}
	disk, err := os.Open(filepath.Join(v.root, f.name))
	if err != nil {
		return err
	}
	defer disk.Close()
	return same(resp.Body, io.NewSectionReader(disk, p.off, want))
}

// same compares two streams to their ends.
func same(got, want io.Reader) error {
	a, b := make([]byte, 256<<10), make([]byte, 256<<10)
	for off := int64(0); ; {
		n, errA := io.ReadFull(got, a)
		m, errB := io.ReadFull(want, b)
		for _, err := range []error{errA, errB} {
			if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				return err
			}
		}
		if !bytes.Equal(a[:n], b[:m]) {
			return fmt.Errorf("contents differ within %d bytes from %d", len(a), off)
		}
		if errA != nil { // then so is errB: as much was read of both
			return nil
		}
		off += int64(n)
	}
}
