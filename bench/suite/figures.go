package suite

import (
	"time"

	"github.com/fserve/fserve/bench/load"
)

// The figures that are made of a result. A run too short for a tick of CPU
// time gives +Inf or NaN, which the caller refuses.

func perSecond(r load.Result) float64    { return float64(r.Requests) / r.Seconds }
func cpuMicros(r load.Result) float64    { return r.ServerCPU * 1e6 / float64(r.Requests) }
func gigabytes(r load.Result) float64    { return float64(r.Bytes) / 1e9 / r.Seconds }
func perCPUSecond(r load.Result) float64 { return float64(r.Bytes) / 1e9 / r.ServerCPU }
func busy(r load.Result) float64         { return 100 * r.LoadBusy / r.Seconds }

func micros(d time.Duration) float64 { return float64(d) / 1e3 }
func millis(d time.Duration) float64 { return float64(d) / 1e6 }
