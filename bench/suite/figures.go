package suite

import (
	"time"

	"github.com/fserve/fserve/bench/load"
	"github.com/fserve/fserve/bench/report"
)

// column is one figure of a result.
type column struct {
	report.Metric
	of func(*load.Result) float64
}

func plain(name string, of func(*load.Result) float64) column {
	return column{report.Metric{Name: name}, of}
}

func higher(name string, of func(*load.Result) float64) column {
	return column{report.Metric{Name: name, Better: report.Higher}, of}
}

func lower(name string, of func(*load.Result) float64) column {
	return column{report.Metric{Name: name, Better: report.Lower}, of}
}

// metrics returns the heads of columns.
func metrics(columns []column) (m []report.Metric) {
	for _, c := range columns {
		m = append(m, c.Metric)
	}
	return m
}

// figures returns the values of columns.
func figures(columns []column, res *load.Result) (v []float64) {
	for _, c := range columns {
		v = append(v, c.of(res))
	}
	return v
}

// The figures that are made of a result, of its first group. A run too short for a
// tick of CPU time gives +Inf or NaN, which the caller refuses.

func perSecond(r *load.Result) float64    { return float64(r.Groups[0].Requests) / r.Seconds }
func cpuMicros(r *load.Result) float64    { return r.ServerCPU * 1e6 / float64(r.Groups[0].Requests) }
func gigabytes(r *load.Result) float64    { return float64(r.Groups[0].Bytes) / 1e9 / r.Seconds }
func perCPUSecond(r *load.Result) float64 { return float64(r.Groups[0].Bytes) / 1e9 / r.ServerCPU }
func p50Micros(r *load.Result) float64    { return micros(r.Groups[0].P50) }
func p99Micros(r *load.Result) float64    { return micros(r.Groups[0].P99) }
func busy(r *load.Result) float64         { return 100 * r.LoadBusy / r.Seconds }
func cpuPart(r *load.Result) float64      { return 100 * r.ServerCPU / r.Seconds }
func stall(r *load.Result) float64        { return millis(r.Stall) }

func micros(d time.Duration) float64 { return float64(d) / 1e3 }
func millis(d time.Duration) float64 { return float64(d) / 1e6 }
