package suite

import (
	"image/color"
	"path/filepath"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"

	"github.com/fserve/fserve/bench/load"
)

// series is what one connection received from one server, in slots of load.Slot.
type series struct {
	name  string
	bytes []int64
}

// palette tells series apart, also for those who do not see all colours
// [M. Okabe, K. Ito: Color Universal Design, 2008].
var palette = []color.Color{
	color.RGBA{R: 0xd5, G: 0x5e, B: 0x00, A: 0xff},
	color.RGBA{R: 0x00, G: 0x72, B: 0xb2, A: 0xff},
	color.RGBA{R: 0x00, G: 0x9e, B: 0x73, A: 0xff},
	color.RGBA{R: 0xcc, G: 0x79, B: 0xa7, A: 0xff},
}

// plotTo draws series over time into the file name.svg of a directory that is there.
func plotTo(dir, name string, all []series) error {
	p := plot.New()
	p.Title.Text = name + ": what one connection receives"
	p.X.Label.Text = "seconds"
	p.Y.Label.Text = "KiB in 100 ms"
	p.Y.Min = 0
	p.Legend.Top = true
	p.Add(plotter.NewGrid())
	for i, s := range all {
		points := make(plotter.XYs, len(s.bytes)+1)
		for j, b := range s.bytes {
			points[j].X, points[j].Y = float64(j)*load.Slot.Seconds(), float64(b)/(1<<10)
			points[j+1].Y = points[j].Y
		}
		points[len(s.bytes)].X = float64(len(s.bytes)) * load.Slot.Seconds()
		line, err := plotter.NewLine(points)
		if err != nil {
			return err
		}
		line.StepStyle = plotter.PostStep
		line.Color = palette[i%len(palette)]
		line.Width = vg.Points(1.2)
		p.Add(line)
		p.Legend.Add(s.name, line)
	}
	return p.Save(24*vg.Centimeter, 10*vg.Centimeter, filepath.Join(dir, name+".svg"))
}
