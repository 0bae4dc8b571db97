package suite

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"

	"github.com/fserve/fserve/bench/load"
	"github.com/fserve/fserve/bench/peer"
	"github.com/fserve/fserve/bench/report"
)

const (
	parts   = 10
	partLen = 10 * kib
)

// multiparts asks for ten parts of a large file at once, and for one as long as
// they are together.
func multiparts() *testCase {
	c := single("multipart", fmt.Sprintf("%d ranges of 10 KiB at once out of {large}, beside a single one of 100 KiB, {conns} keep-alive connections",
		parts), file1k, nil)
	c.metrics = []report.Metric{
		{Name: "CPU µs/multipart", Better: report.Lower}, {Name: "CPU µs/range", Better: report.Lower},
		{Name: "multipart/range", Better: report.Lower}, {Name: "multiparts/s", Better: report.Higher},
		{Name: "ranges/s", Better: report.Higher}, {Name: "load busy %"},
	}
	c.files = func(o *Options) []file { return []file{o.large(0)} }
	c.excluded = oneAnswer
	c.verify = func(ctx context.Context, r *runner, s *peer.Server) error {
		if err := resident(r.root, r.large(0)); err != nil {
			return err
		}
		_, err := r.verify.parts(ctx, s, r.large(0), partsFrom(r.LargeFile))
		return err
	}
	c.run = runMultipart
	return c
}

// partsFrom returns the largest power of ten that is not over a tenth of the file.
// Positions from there to ten times as far have the same number of digits, so all part
// headers have the same length.
func partsFrom(size int64) int64 {
	p := int64(1)
	for p*100 <= size {
		p *= 10
	}
	return p
}

func runMultipart(ctx context.Context, r *runner, s *peer.Server) ([]float64, error) {
	f, from := r.large(0), partsFrom(r.LargeFile)
	length, err := r.verify.parts(ctx, s, f, from)
	if err != nil {
		return nil, err
	}
	r.verify.close()
	g := r.closed(f)
	g.BodyLen, g.Ranges.Of = parts*partLen, r.LargeFile
	single, err := r.generate(ctx, s, r.load(g))
	if err != nil {
		return nil, err
	}
	g.BodyLen, g.Ranges = length, load.Ranges{Of: 10 * from, Parts: parts, PartLen: partLen, From: from}
	several, err := r.generate(ctx, s, r.load(g))
	if err != nil {
		return nil, err
	}
	return []float64{
		cpuMicros(several), cpuMicros(single), cpuMicros(several) / cpuMicros(single),
		perSecond(several), perSecond(single), busy(several),
	}, nil
}

// parts checks an answer with several ranges, the first at off, and returns its length.
func (v *verifier) parts(ctx context.Context, s *peer.Server, f file, off int64) (length int64, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.Addr+f.path(), nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Range", load.RangeValue(off, partLen, parts))
	resp, err := v.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	disk, err := os.Open(filepath.Join(v.root, f.name))
	if err != nil {
		return 0, err
	}
	defer disk.Close()
	if err := sameParts(resp, disk, f.size, off); err != nil {
		return 0, fmt.Errorf("verifying %d ranges of %s of %s: %w", parts, f.name, s.Name, err)
	}
	return resp.ContentLength, nil
}

// sameParts compares the parts of an answer with the file.
func sameParts(resp *http.Response, disk io.ReaderAt, size, off int64) error {
	typ, params, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusPartialContent || typ != "multipart/byteranges" || resp.ContentLength <= parts*partLen {
		return fmt.Errorf("status %d, %s of %d bytes", resp.StatusCode, typ, resp.ContentLength)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	r := multipart.NewReader(bytes.NewReader(body), params["boundary"])
	for i := range int64(parts) {
		p, err := r.NextRawPart()
		if err != nil {
			return fmt.Errorf("part %d: %w", i, err)
		}
		first := off + 2*i*partLen
		if got, want := p.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-%d/%d", first, first+partLen-1, size); got != want {
			return fmt.Errorf("part %d: Content-Range %q instead of %q", i, got, want)
		}
		if err := same(p, io.NewSectionReader(disk, first, partLen)); err != nil {
			return fmt.Errorf("part %d: %w", i, err)
		}
	}
	if _, err := r.NextRawPart(); err != io.EOF {
		return fmt.Errorf("behind the last part: %w", err)
	}
	return nil
}
