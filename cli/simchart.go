package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/go-analyze/charts"

	"github.com/weirbuild/weir/cli/ui"
	"github.com/weirbuild/weir/scheduler/sim"
)

const (
	chartWidth  = 1000
	chartHeight = 640
	// chartPoints is how many points a line has at most.
	chartPoints = 500
	chartLabels = 8
)

// chartFormat is the format that a file's name asks for.
func chartFormat(file string) (string, error) {
	switch filepath.Ext(file) {
	case ".svg":
		return charts.ChartOutputSVG, nil
	case ".png":
		return charts.ChartOutputPNG, nil
	}
	return "", usageError("--chart %s: want a name that ends in .svg or .png", file)
}

// writeChart draws the queue and the busy slots over time, a line for each policy.
func writeChart(file string, seed uint64, policies []sim.Policy, runs []*sim.Measured) error {
	format, err := chartFormat(file)
	if err != nil {
		return err
	}
	var names []string
	longest := 0
	for i, m := range runs {
		names = append(names, policies[i].String())
		longest = max(longest, len(m.Samples))
	}
	every := max((longest+chartPoints-1)/chartPoints, 1)
	p := charts.NewPainter(charts.PainterOptions{OutputFormat: format, Width: chartWidth, Height: chartHeight})
	p.FilledRect(0, 0, chartWidth, chartHeight, charts.ColorWhite, charts.ColorWhite, 0)
	for i, part := range []struct {
		title string
		most  *float64 // of the axis; nil: of the values
		value func(sim.Sample) float64
	}{
		{fmt.Sprintf("Jobs that wait (seed %d)", seed), nil, func(s sim.Sample) float64 { return float64(s.Queued) }},
		{"Busy slots, in per cent", charts.Ptr(100.0), func(s sim.Sample) float64 { return 100 * s.Busy }},
	} {
		box := charts.NewBox(0, i*chartHeight/2, chartWidth, (i+1)*chartHeight/2)
		if err := p.Child(charts.PainterBoxOption(box)).LineChart(charts.LineChartOption{
			Padding:    charts.NewBoxEqual(12),
			Title:      charts.TitleOption{Text: part.title, FontStyle: charts.FontStyle{FontSize: 13}},
			Legend:     charts.LegendOption{SeriesNames: names, Offset: charts.OffsetRight},
			Symbol:     charts.Symbol{Shape: charts.SymbolNone},
			SeriesList: charts.NewSeriesListLine(lines(runs, longest, every, part.value)),
			XAxis:      charts.XAxisOption{Labels: moments(runs, longest, every), LabelCount: chartLabels, BoundaryGap: charts.Ptr(false)},
			YAxis:      []charts.YAxisOption{{Min: charts.Ptr(0.0), Max: part.most, LabelCount: 6}},
		}); err != nil {
			return fmt.Errorf("draw the chart: %w", err)
		}
	}
	picture, err := p.Bytes()
	if err != nil {
		return fmt.Errorf("draw the chart: %w", err)
	}
	return os.WriteFile(file, picture, 0o644)
}

// lines are the values of each run, the mean of so many samples a point. After its
// end a run is at 0.
func lines(runs []*sim.Measured, longest, every int, value func(sim.Sample) float64) [][]float64 {
	all := make([][]float64, len(runs))
	for i, m := range runs {
		for from := 0; from < longest; from += every {
			sum := 0.0
			for n := from; n < min(from+every, len(m.Samples)); n++ {
				sum += value(m.Samples[n])
			}
			all[i] = append(all[i], sum/float64(every))
		}
	}
	return all
}

// moments are the virtual times of the points.
func moments(runs []*sim.Measured, longest, every int) (labels []string) {
	for _, m := range runs {
		if len(m.Samples) < longest {
			continue
		}
		for n := 0; n < longest; n += every {
			labels = append(labels, ui.Short(m.Samples[n].At.Round(time.Minute)))
		}
		break
	}
	return labels
}
