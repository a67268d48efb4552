package sim

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/weirbuild/weir/proto/pb"
)

// arguments are the words after a line's first. Each is asked for once; done
// tells what was wrong, and which words nobody asked for.
type arguments struct {
	verb  string
	words []string
	err   error
}

func (a *arguments) fail(format string, args ...any) {
	if a.err == nil {
		a.err = fmt.Errorf(format, args...)
	}
}

func (a *arguments) done() error {
	if a.err == nil && len(a.words) > 0 {
		a.fail("unknown word %q", a.words[0])
	}
	return a.err
}

// subject is the first word.
func (a *arguments) subject(what string) string {
	if len(a.words) == 0 {
		a.fail("it needs %s", what)
		return ""
	}
	word := a.words[0]
	a.words = a.words[1:]
	return word
}

func (a *arguments) flag(word string) bool {
	for i, w := range a.words {
		if w == word {
			a.words = append(a.words[:i:i], a.words[i+1:]...)
			return true
		}
	}
	return false
}

// text is the value of name=value, or empty.
func (a *arguments) text(name string) string {
	for i, w := range a.words {
		if value, ok := strings.CutPrefix(w, name+"="); ok {
			a.words = append(a.words[:i:i], a.words[i+1:]...)
			if value == "" {
				a.fail("%s= has no value", name)
			}
			return value
		}
	}
	return ""
}

// number is a positive number, 1 when it is not given.
func (a *arguments) number(name string) uint32 {
	text := a.text(name)
	if text == "" {
		return 1
	}
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil || n == 0 {
		a.fail("%s=%s is not a positive number", name, text)
	}
	return uint32(n)
}

// count is a number, 0 when it is not given.
func (a *arguments) count(name string) uint32 {
	text := a.text(name)
	if text == "" {
		return 0
	}
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		a.fail("%s=%s is not a number", name, text)
	}
	return uint32(n)
}

// concurrency is KEY=N, or nil when it is not given.
func (a *arguments) concurrency(name string) *pb.Concurrency {
	text := a.text(name)
	if text == "" {
		return nil
	}
	cut := strings.LastIndexByte(text, '=')
	n, err := strconv.ParseUint(text[cut+1:], 10, 31)
	if cut < 1 || err != nil || n == 0 {
		a.fail("%s=%s: want %s=KEY=N", name, text, name)
		return nil
	}
	return &pb.Concurrency{Key: text[:cut], Most: uint32(n)}
}

// onOff is whether name=on or name=off is given, or otherwise.
func (a *arguments) onOff(name string, otherwise bool) bool {
	switch text := a.text(name); text {
	case "on":
		return true
	case "off":
		return false
	case "":
		return otherwise
	default:
		a.fail("%s=%s is neither on nor off", name, text)
		return otherwise
	}
}

func (a *arguments) rate() float64 {
	text := a.subject("a rate, as 2.5")
	rate, err := strconv.ParseFloat(text, 64)
	if err != nil {
		a.fail("%q is not a rate", text)
	}
	return rate
}

func (a *arguments) duration(name string) time.Duration {
	text := a.text(name)
	if text == "" {
		return 0
	}
	d, err := parseDuration(text)
	if err != nil {
		a.fail("%s: %w", name, err)
	}
	return d
}

// takes are the times of a build, with the cache and without.
func (a *arguments) takes(name string) (t Takes) {
	text := a.text(name)
	if text == "" {
		return t
	}
	cached, uncached, ok := strings.Cut(text, "/")
	if !ok {
		a.fail("%s=%s: give both times, as %s=15s/15m", name, text, name)
		return t
	}
	var err error
	if t.Cached, err = parseDuration(cached); err != nil {
		a.fail("%s: %w", name, err)
	}
	if t.Uncached, err = parseDuration(uncached); err != nil {
		a.fail("%s: %w", name, err)
	}
	return t
}

// labels are k=v pairs with commas between them.
func (a *arguments) labels(name string) (labels []*pb.Label) {
	text := a.text(name)
	if text == "" {
		return nil
	}
	for pair := range strings.SplitSeq(text, ",") {
		k, v, ok := strings.Cut(pair, "=")
		if !ok {
			a.fail("%s: %q is not a label, as os=linux", name, pair)
		}
		labels = append(labels, &pb.Label{Name: k, Value: v})
	}
	sortLabels(labels)
	return labels
}

func parseDuration(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || d != d.Truncate(time.Millisecond) {
		return 0, fmt.Errorf("%q is not a time, as 2s, 1h30m or 250ms", text)
	}
	return d, nil
}
