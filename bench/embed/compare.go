package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/fserve/fserve/bench/load"
	"github.com/fserve/fserve/bench/proc"
	"github.com/fserve/fserve/bench/report"
)

// contest is one comparison: the same load on two servers, in turn.
type contest struct {
	name, about  string
	size         int64
	plain, other []string // commands of the servers
}

// run runs the cases.
func (o *options) run(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	root, err := os.MkdirTemp(o.dir, "embed")
	if err != nil {
		return err
	}
	defer os.RemoveAll(root)
	for _, name := range o.cases {
		if name == "cold" {
			if err := o.cold(ctx, self, root); err != nil {
				return fmt.Errorf("cold: %w", err)
			}
			continue
		}
		contests, err := o.contests(name, self, root)
		if err != nil {
			return err
		}
		for _, c := range contests {
			if err := o.compare(ctx, self, root, c); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
		}
	}
	return nil
}

func (o *options) contests(name, self, root string) ([]contest, error) {
	serve := func(args ...string) []string { return append([]string{self, "serve", "-root", root}, args...) }
	switch name {
	case "files":
		return []contest{{
			name: "files", about: "http.FileServer, 10 MiB, through the engine's listener against plain",
			size: 10 << 20, plain: serve(), other: serve("-engine"),
		}}, nil
	case "limited":
		var all []contest
		for _, rate := range []string{"200000000", "1000000000"} {
			all = append(all, contest{
				name: "limited", about: "10 MiB, client limit of " + rate + " B/s, by the engine against a limited reader",
				size: 10 << 20, plain: serve("-limit", rate), other: serve("-engine", "-limit", rate),
			})
		}
		return all, nil
	case "gin":
		if o.gin == "" {
			return nil, fmt.Errorf("case gin needs -gin PROGRAM")
		}
		gin := []string{o.gin, "-root", root, "-listen", "127.0.0.1:0", "-limit", "0"}
		return []contest{{
			name: "gin", about: "gin's c.File, 1 MiB, through the engine's listener against plain",
			size: 1 << 20, plain: append(slices.Clone(gin), "-stock"), other: gin,
		}}, nil
	}
	return nil, fmt.Errorf("no case %q", name)
}

// compare runs pairs and prints what they brought.
func (o *options) compare(ctx context.Context, self, root string, c contest) error {
	path := "/" + strconv.FormatInt(c.size, 10)
	if err := os.WriteFile(filepath.Join(root, path), bytes.Repeat([]byte("download"), int(c.size/8)), 0o644); err != nil {
		return err
	}
	cfg := load.Config{
		Groups: []load.Group{{Mode: load.Closed, Conns: 64, Path: path, BodyLen: c.size}},
		Warm:   o.measure / 4, Measure: o.measure, Spin: true,
	}
	var plain, other, ratios, speed []float64
	for i := range o.pairs {
		pair := [][]string{c.plain, c.other}
		if i%2 == 1 {
			slices.Reverse(pair)
		}
		var got [2]*load.Result
		for k, command := range pair {
			var err error
			if got[(k+i)%2], err = o.measureOne(ctx, self, command, cfg); err != nil {
				return err
			}
		}
		plain, other = append(plain, perCPU(got[0])), append(other, perCPU(got[1]))
		ratios = append(ratios, perCPU(got[1])/perCPU(got[0]))
		speed = append(speed, perSecond(got[1])/perSecond(got[0]))
	}
	fmt.Printf("%s: GB per server CPU second %s, %s; ratio %s (%s-%s); ratio of bytes per second %s; %d pairs\n", c.about,
		report.Number(report.Median(plain)), report.Number(report.Median(other)),
		report.Number(report.Median(ratios)), report.Number(slices.Min(ratios)), report.Number(slices.Max(ratios)),
		report.Number(report.Median(speed)), o.pairs)
	return nil
}

// perCPU and perSecond return GB per CPU second of the server, and per second.
func perCPU(r *load.Result) float64    { return float64(r.Groups[0].Bytes) / 1e9 / r.ServerCPU }
func perSecond(r *load.Result) float64 { return float64(r.Groups[0].Bytes) / 1e9 / r.Seconds }

// measureOne puts load on a server that is started for it.
func (o *options) measureOne(ctx context.Context, self string, command []string, cfg load.Config) (*load.Result, error) {
	s, err := o.start(command)
	if err != nil {
		return nil, err
	}
	defer s.stop()
	return o.load(ctx, self, s, cfg)
}

// load puts load on a server.
func (o *options) load(ctx context.Context, self string, s *process, cfg load.Config) (*load.Result, error) {
	cfg.Addr, cfg.Pids, cfg.Core = s.addr, []int{s.cmd.Process.Pid}, o.serverCPU
	return load.Process{Self: self, CPU: o.loadCPU}.Run(ctx, cfg, nil)
}

// process is a server under load.
type process struct {
	cmd  *exec.Cmd
	addr string
}

// start starts a server, which says on its first line where it listens.
func (o *options) start(command []string) (*process, error) {
	s := &process{cmd: exec.Command(command[0], command[1:]...)}
	s.cmd.Stderr = os.Stderr
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := proc.StartOn(s.cmd, o.serverCPU); err != nil {
		return nil, err
	}
	if _, err := fmt.Fscanln(out, &s.addr); err != nil {
		s.stop()
		return nil, fmt.Errorf("address of %v: %w", command, err)
	}
	return s, nil
}

func (s *process) stop() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait() // it was killed
}
