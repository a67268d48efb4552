// Package ui renders answers for people and for programs. It promises that
// text fits a terminal of 80 columns and that JSON has the field names of the
// protocol; it talks to nobody.
package ui

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// Printer renders one answer: a message, and how people see it.
type Printer interface {
	// Print renders m; text is asked for when people read.
	Print(m proto.Message, text func(*Table)) error
}

// Text prints tables. Now is what ages are counted from.
type Text struct {
	W   io.Writer
	Now time.Time
}

// Print implements Printer.
func (t Text) Print(_ proto.Message, text func(*Table)) error {
	table := &Table{w: tabwriter.NewWriter(t.W, 0, 4, 2, ' ', 0), now: t.Now}
	text(table)
	return table.w.Flush()
}

// JSON prints the message itself.
type JSON struct{ W io.Writer }

// Print implements Printer.
func (j JSON) Print(m proto.Message, _ func(*Table)) error {
	raw, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil {
		return fmt.Errorf("render answer: %w", err)
	}
	var tidy any // protojson varies its spaces on purpose
	if err := json.Unmarshal(raw, &tidy); err != nil {
		return fmt.Errorf("render answer: %w", err)
	}
	enc := json.NewEncoder(j.W)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(tidy)
}

// Table collects aligned rows.
type Table struct {
	w   *tabwriter.Writer
	now time.Time
}

// Row adds one line of cells.
func (t *Table) Row(cells ...any) {
	parts := make([]string, len(cells))
	for i, c := range cells {
		parts[i] = fmt.Sprint(c)
	}
	fmt.Fprintln(t.w, strings.TrimRight(strings.Join(parts, "\t"), "\t "))
}

// Line adds text that is no row of the table.
func (t *Table) Line(format string, args ...any) { fmt.Fprintf(t.w, format+"\n", args...) }

// Ago is how long since a moment in milliseconds, or "-".
func (t *Table) Ago(ms int64) string {
	if ms == 0 {
		return "-"
	}
	return Short(t.now.Sub(time.UnixMilli(ms)))
}

// Short renders a duration in two units at most: 3.2s, 4m10s, 2h05m, 3d04h.
func Short(d time.Duration) string {
	switch d = max(d, 0); {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd%02dh", int(d.Hours())/24, int(d.Hours())%24)
}

// Between is the time from one moment to another, both in milliseconds; a
// missing end means now.
func (t *Table) Between(from, to int64) string {
	if from == 0 {
		return "-"
	}
	if to == 0 {
		to = t.now.UnixMilli()
	}
	return Short(time.Duration(to-from) * time.Millisecond)
}

// Clip shortens text to n characters, on one line, with no control character.
func Clip(text string, n int) string {
	text = Clean(text)
	if r := []rune(text); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return text
}

// Clean removes what could move a terminal's cursor or start a new line.
func Clean(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) {
			return ' '
		}
		return r
	}, text)
}
