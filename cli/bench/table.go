package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// Figure is one line of the table: what was measured, beside its mark.
type Figure struct {
	Section  string  `json:"section"`
	Name     string  `json:"name"`
	Value    float64 `json:"value"`
	Unit     string  `json:"unit"`
	Limit    float64 `json:"limit,omitempty"` // what the parts allow, measured in the same run
	Ratio    float64 `json:"ratio,omitempty"` // of the value to the limit
	Want     string  `json:"want,omitempty"`  // empty: no mark is set
	Met      bool    `json:"met"`
	Detail   string  `json:"detail,omitempty"`
	measured string  // as people read it
	mark     string
}

// atMost compares a duration with the most that it may be.
func atMost(name string, got, most time.Duration, detail string) Figure {
	return Figure{
		Name: name, Value: got.Seconds(), Unit: "s", Want: "<= " + short(most), Met: got <= most, Detail: detail,
		measured: short(got), mark: "want <= " + short(most),
	}
}

// atMostOf compares a duration with a multiple of a limit.
func atMostOf(name string, got, limit time.Duration, times float64, detail string) Figure {
	ratio := got.Seconds() / limit.Seconds()
	return Figure{
		Name: name, Value: got.Seconds(), Unit: "s", Limit: limit.Seconds(), Ratio: ratio,
		Want: fmt.Sprintf("<= %g x the limit", times), Met: ratio <= times, Detail: detail,
		measured: short(got), mark: fmt.Sprintf("%.2f x %s, want <= %g", ratio, short(limit), times),
	}
}

// shareOf compares a rate with a share of a limit.
func shareOf(name string, got, limit float64, unit string, share float64, detail string) Figure {
	ratio := got / limit
	return Figure{
		Name: name, Value: got, Unit: unit, Limit: limit, Ratio: ratio,
		Want: fmt.Sprintf(">= %g of the limit", share), Met: ratio >= share, Detail: detail,
		measured: fmt.Sprintf("%.0f%s", got, unit), mark: fmt.Sprintf("%.2f of %.0f%s, want >= %g", ratio, limit, unit, share),
	}
}

// atMostNumber compares a number with the most that it may be.
func atMostNumber(name string, got, most float64, unit, detail string) Figure {
	return Figure{
		Name: name, Value: got, Unit: unit, Want: fmt.Sprintf("<= %g%s", most, unit), Met: got <= most, Detail: detail,
		measured: digits(got) + unit, mark: fmt.Sprintf("want <= %g%s", most, unit),
	}
}

// fact is a figure without a mark.
func fact(name string, value float64, unit, measured, detail string) Figure {
	return Figure{Name: name, Value: value, Unit: unit, Met: true, Detail: detail, measured: measured}
}

// short renders a duration in three digits or so.
func short(d time.Duration) string {
	switch {
	case d >= 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= 100*time.Millisecond:
		return d.Round(time.Millisecond).String()
	}
	return d.Round(10 * time.Microsecond).String()
}

func digits(v float64) string {
	if v < 10 {
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	return strconv.FormatFloat(v, 'f', 0, 64)
}

// printer shows the figures as they come.
type printer interface {
	section(name, what string)
	figure(Figure)
	end(missed []string) error
}

// text is a table of 80 columns.
type text struct{ w io.Writer }

func (t text) section(name, what string) { fmt.Fprintf(t.w, "\n%s: %s\n", name, what) }

func (t text) figure(f Figure) {
	verdict := ""
	if f.Want != "" {
		verdict = "met"
		if !f.Met {
			verdict = "MISSED"
		}
	}
	line := fmt.Sprintf("  %-33s %8s  %-27s %s", f.Name, f.measured, f.mark, verdict)
	fmt.Fprintln(t.w, strings.TrimRight(line, " "))
	if f.Detail != "" {
		fmt.Fprintln(t.w, "    "+f.Detail)
	}
}

func (t text) end(missed []string) error {
	if len(missed) > 0 {
		fmt.Fprintf(t.w, "\nMISSED:\n  %s\n", strings.Join(missed, "\n  "))
		return nil
	}
	_, err := fmt.Fprintln(t.w, "\nall marks met")
	return err
}

// document is all figures as one JSON array.
type document struct {
	w   io.Writer
	all []Figure
}

func (d *document) section(string, string) {}
func (d *document) figure(f Figure)        { d.all = append(d.all, f) }

func (d *document) end([]string) error {
	enc := json.NewEncoder(d.w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(d.all)
}
