package suite

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fserve/fserve/bench/load"
	"github.com/fserve/fserve/bench/peer"
	"github.com/fserve/fserve/bench/proc"
	"github.com/fserve/fserve/bench/report"
)

// between returns servers of which the first is the baseline.
func between(specs ...peer.Spec) func(*Options) []Contestant {
	return func(*Options) (field []Contestant) {
		for _, s := range specs {
			field = append(field, Contestant{Spec: s, Baseline: specs[0].Name})
		}
		return field
	}
}

func embedded(name string, args ...string) peer.Spec {
	return peer.Spec{Name: name, Kind: peer.Embed, Args: args}
}

// embed completes a case of servers that the engine is embedded in.
func embed(name, about string, f file, field func(*Options) []Contestant) *testCase {
	c := single(name, about, f, ofBytes[:2])
	c.field, c.fresh = field, true
	return c
}

func embedFiles() *testCase {
	return embed("embed-files", "http.FileServer, 10 MiB, {conns} keep-alive connections: through the engine's listener beside plain", file10m,
		between(embedded("plain"), embedded("engine", "-engine")))
}

// embedLimited compares the limit of the engine with what is usual in Go.
func embedLimited(name, about string, rate int64) *testCase {
	limit := fmt.Sprint("-limit=", rate)
	return embed(name, "10 MiB, {conns} keep-alive connections, client limit of "+about+": by the engine beside a limited reader", file10m,
		between(embedded("reader", limit), embedded("engine", "-engine", limit)))
}

func embedGin() *testCase {
	c := embed("embed-gin", "gin's c.File, 1 MiB, {conns} keep-alive connections: through the engine's listener beside plain", file1m,
		func(o *Options) []Contestant {
			return between(peer.Spec{Name: "plain", Kind: peer.Gin, Binary: o.Gin, Args: []string{"-limit", "0", "-stock"}},
				peer.Spec{Name: "engine", Kind: peer.Gin, Binary: o.Gin, Args: []string{"-limit", "0"}})(o)
		})
	c.possible = func(r *runner) string {
		if r.Gin == "" {
			return "it needs the program of examples/gin, see -gin"
		}
		return ""
	}
	return c
}

const (
	embedDownloads = 64
	embedTime      = 10 * time.Minute // bounds the downloads; the rest is not complete
	threadsEvery   = 10 * time.Millisecond
)

// embedFile is one of the files of the case embed-cold. Its name has a type that net/http
// knows, so that it does not look at the content.
func (o *Options) embedFile(i int) file {
	return file{name: fmt.Sprintf("embed%d.pdf", i), size: o.LargeFile / 8}
}

// embedCold counts the threads of a server from which many files that are not in memory
// are downloaded at once.
func embedCold() *testCase {
	c := embed("embed-cold", "", file1k, between(embedded("plain"), embedded("engine", "-engine"), embedded("nethttp", "-engine", "-nethttp")))
	c.about = func(o *Options) string {
		return fmt.Sprintf("%d cold downloads of %d KiB at once: http.FileServer, the same through the engine's listener, and server/nethttp",
			embedDownloads, o.LargeFile/8/kib)
	}
	c.metrics = []report.Metric{
		{Name: "threads", Better: report.Lower}, {Name: "MB/s", Better: report.Higher}, {Name: "downloads complete"},
	}
	c.files = func(o *Options) []file {
		files := []file{file1k}
		for i := range embedDownloads {
			files = append(files, o.embedFile(i))
		}
		return files
	}
	c.run = runEmbedCold
	return c
}

func runEmbedCold(ctx context.Context, r *runner, s *peer.Server) ([]float64, error) {
	c := load.Config{Measure: embedTime}
	for i := range embedDownloads {
		f := r.embedFile(i)
		if err := drop(filepath.Join(r.root, f.name)); err != nil {
			return nil, err
		}
		c.Groups = append(c.Groups, download(f))
	}
	pids, err := s.Pids()
	if err != nil {
		return nil, err
	}
	watching, stop := context.WithCancel(ctx)
	most := make(chan int, 1)
	go func() { most <- mostThreads(watching, pids) }()
	res, err := r.generate(ctx, s, c)
	stop()
	threads := <-most
	if err != nil {
		return nil, err
	}
	bytes, complete := together(res.Groups)
	return []float64{float64(threads), bytes / 1e6 / res.Seconds, complete}, nil
}

// drop takes a file out of the page cache.
func drop(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
}

// mostThreads returns the largest number of threads that the processes had until ctx ends.
func mostThreads(ctx context.Context, pids []int) (most int) {
	tick := time.NewTicker(threadsEvery)
	defer tick.Stop()
	for {
		most = max(most, proc.Threads(pids))
		select {
		case <-ctx.Done():
			return most
		case <-tick.C:
		}
	}
}
