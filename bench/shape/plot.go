package shape

import (
	"image/color"
	"path/filepath"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

// Series is what one connection received from one server, in slots of Slot.
type Series struct {
	Name  string
	Bytes []int64
}

// palette tells series apart, also for those who do not see all colours
// [M. Okabe, K. Ito: Color Universal Design, 2008].
var palette = []color.Color{
	color.RGBA{R: 0xd5, G: 0x5e, B: 0x00, A: 0xff},
	color.RGBA{R: 0x00, G: 0x72, B: 0xb2, A: 0xff},
	color.RGBA{R: 0x00, G: 0x9e, B: 0x73, A: 0xff},
	color.RGBA{R: 0xcc, G: 0x79, B: 0xa7, A: 0xff},
}

// Plot draws series over time into the file name.svg of a directory that is there.
func Plot(dir, name string, series []Series) error {
	p := plot.New()
	p.Title.Text = name + ": what one connection receives"
	p.X.Label.Text = "seconds"
	p.Y.Label.Text = "KiB in 100 ms"
	p.Y.Min = 0
	p.Legend.Top = true
	p.Add(plotter.NewGrid())
	for i, s := range series {
		points := make(plotter.XYs, len(s.Bytes)+1)
		for j, b := range s.Bytes {
			points[j].X, points[j].Y = float64(j)*Slot.Seconds(), float64(b)/(1<<10)
			points[j+1].Y = points[j].Y
		}
		points[len(s.Bytes)].X = float64(len(s.Bytes)) * Slot.Seconds()
		line, err := plotter.NewLine(points)
		if err != nil {
			return err
		}
		line.StepStyle = plotter.PostStep
		line.Color = palette[i%len(palette)]
		line.Width = vg.Points(1.2)
		p.Add(line)
		p.Legend.Add(s.Name, line)
	}
	return p.Save(24*vg.Centimeter, 10*vg.Centimeter, filepath.Join(dir, name+".svg"))
}
