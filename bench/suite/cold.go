package suite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/bench/load"
	"github.com/fserve/fserve/bench/peer"
	"github.com/fserve/fserve/bench/report"
	"github.com/fserve/fserve/internal/sys"
)

const (
	coldFiles = 4   // downloads at a time
	hotConns  = 16  // connections of the requests beside them
	hotRate   = 500 // requests a second beside them; a server that stalls for 20 ms keeps up
	coldLeast = 10 * time.Second

	// coldTurn bounds what is taken of one download before the other connections are
	// looked at, in bytes, so that the generator itself does not delay the requests
	// that it times.
	coldTurn = 256 * kib

	dropCaches = "/proc/sys/vm/drop_caches"
	pageSize   = 4096
)

// cold measures hot requests beside downloads of files that are on disk only.
func cold() *testCase {
	c := single("cold", fmt.Sprintf("hot 1 KiB (%d/s on %d connections) beside %d cold downloads of {large}; latency from the time a request is due",
		hotRate, hotConns, coldFiles), file1k, nil)
	c.cold = true
	c.metrics = []report.Metric{
		{Name: "hot p50 ms", Better: report.Lower}, {Name: "hot p99 ms", Better: report.Lower}, {Name: "hot max ms"},
		{Name: "cold GB/s", Better: report.Higher}, {Name: "GB/server CPU s"}, {Name: "downloads complete"},
	}
	c.files = func(o *Options) []file {
		files := []file{file1k}
		for i := range coldFiles {
			files = append(files, o.large(i))
		}
		return files
	}
	c.possible = canDrop
	c.excluded = oneAnswer
	c.verify = func(ctx context.Context, r *runner, s *peer.Server) error {
		if err := r.verify.whole(ctx, s, file1k, false); err != nil {
			return err
		}
		return r.verify.whole(ctx, s, r.large(0), false)
	}
	c.run = runCold
	return c
}

// canDrop says why the page cache cannot be dropped here.
func canDrop(r *runner) string {
	if memory, err := onMemoryFS(r.root); err != nil {
		return err.Error()
	} else if memory {
		return "the files are in memory (tmpfs); choose another -dir"
	}
	f, err := os.OpenFile(dropCaches, os.O_WRONLY, 0)
	if err != nil {
		return "dropping the page cache needs root: " + err.Error()
	}
	f.Close()
	return ""
}

func runCold(ctx context.Context, r *runner, s *peer.Server) ([]float64, error) {
	c := r.load(hot(file1k, time.Second/hotRate))
	// The downloads begin with the measurement, which ends with them.
	c.Warm, c.Measure = 0, max(coldLeast, 5*r.Measure)
	for i := range coldFiles {
		c.Groups = append(c.Groups, download(r.large(i)))
	}
	if err := r.chill(); err != nil {
		return nil, err
	}
	res, err := r.generate(ctx, s, c)
	if err != nil {
		return nil, err
	}
	bytes, complete := together(res.Groups[1:])
	seen, gb := res.Groups[0], bytes/1e9
	return []float64{
		millis(seen.P50), millis(seen.P99), millis(seen.Max), gb / res.Seconds, gb / res.ServerCPU, complete,
	}, nil
}

// together returns the bytes and the responses of several groups.
func together(groups []load.Seen) (bytes, complete float64) {
	for i := range groups {
		bytes += float64(groups[i].Bytes)
		complete += float64(groups[i].Requests)
	}
	return bytes, complete
}

// download is one download of a file.
func download(f file) load.Group {
	return load.Group{Mode: load.Once, Conns: 1, Path: f.path(), BodyLen: f.size, Turn: coldTurn}
}

// hot are requests for a file at fixed times, beside whatever else there is.
func hot(f file, every time.Duration) load.Group {
	return load.Group{Mode: load.Timed, Conns: hotConns, Path: f.path(), BodyLen: f.size, Every: every}
}

// chill drops the page cache and checks that the large files are gone from it.
func (r *runner) chill() error {
	unix.Sync() // dirty pages cannot be dropped
	if err := os.WriteFile(dropCaches, []byte("3"), 0); err != nil {
		return err
	}
	for i := range coldFiles {
		if err := r.isCold(r.large(i)); err != nil {
			return err
		}
	}
	return nil
}

func (r *runner) isCold(f file) error {
	disk, err := os.Open(filepath.Join(r.root, f.name))
	if err != nil {
		return err
	}
	defer disk.Close()
	var st sys.Cachestat
	switch e := sys.CachestatRange(int32(disk.Fd()), 0, f.size, &st); {
	case e == unix.ENOSYS:
		return nil // Linux before 6.5 does not tell
	case e != 0:
		return fmt.Errorf("cachestat: %w", e)
	}
	if cached := int64(st.Cached) * pageSize; cached > f.size/100 {
		return errors.New(f.name + " is still in the page cache")
	}
	return nil
}
