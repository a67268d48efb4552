package fsmtest

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/weirbuild/weir/proto/pb"
)

// words are the parts of a script line. Taking one removes it, so that what is
// left over at the end was not understood.
type words struct {
	verb  string
	args  []string
	named map[string][]string
	err   error
}

func split(line string) (*words, error) {
	w := &words{named: map[string][]string{}}
	for rest := strings.TrimSpace(line); rest != ""; rest = strings.TrimLeft(rest, " ") {
		word, err := nextWord(&rest)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", line, err)
		}
		name, value, isNamed := strings.Cut(word, "=")
		switch {
		case w.verb == "":
			w.verb = word
		case isNamed:
			w.named[name] = append(w.named[name], value)
		case word == "urgent" || word == "replace" || word == "first" || word == "resume" || word == "sliding":
			w.named[word] = []string{""}
		default:
			w.args = append(w.args, word)
		}
	}
	return w, nil
}

// nextWord cuts the first word off a line, and unquotes what is quoted in it.
func nextWord(rest *string) (string, error) {
	space, quote := strings.IndexByte(*rest, ' '), strings.IndexByte(*rest, '"')
	if quote >= 0 && (space < 0 || quote < space) {
		quoted, err := strconv.QuotedPrefix((*rest)[quote:])
		if err != nil {
			return "", err
		}
		text, err := strconv.Unquote(quoted)
		word := (*rest)[:quote] + text
		*rest = (*rest)[quote+len(quoted):]
		return word, err
	}
	word, tail, _ := strings.Cut(*rest, " ")
	*rest = tail
	return word, nil
}

func (w *words) fail(format string, args ...any) {
	if w.err == nil {
		w.err = fmt.Errorf(format, args...)
	}
}

func (w *words) arg() string {
	if len(w.args) == 0 {
		w.fail("%s: too few words", w.verb)
		return ""
	}
	word := w.args[0]
	w.args = w.args[1:]
	return word
}

func (w *words) id() uint64 {
	n, err := strconv.ParseUint(w.arg(), 10, 64)
	if err != nil {
		w.fail("%s: %w", w.verb, err)
	}
	return n
}

func (w *words) outcome() pb.OutcomeKind {
	name := "OUTCOME_" + strings.ToUpper(strings.ReplaceAll(w.arg(), "-", "_"))
	kind, ok := pb.OutcomeKind_value[name]
	if !ok {
		w.fail("%s: no outcome %s", w.verb, name)
	}
	return pb.OutcomeKind(kind)
}

func (w *words) text(name string) string {
	values := w.named[name]
	delete(w.named, name)
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

func (w *words) flag(name string) bool {
	_, ok := w.named[name]
	delete(w.named, name)
	return ok
}

func (w *words) number(name string) int64 {
	text := w.text(name)
	if text == "" {
		return 0
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		w.fail("%s: %w", w.verb, err)
	}
	return n
}

func (w *words) float(name string) float64 {
	text := w.text(name)
	if text == "" {
		return 0
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		w.fail("%s: %w", w.verb, err)
	}
	return f
}

func (w *words) list(name string) []string {
	text := w.text(name)
	if text == "" {
		return nil
	}
	return strings.Split(text, ",")
}

func (w *words) labels() []*pb.Label {
	var labels []*pb.Label
	for _, word := range w.named["label"] {
		name, value, _ := strings.Cut(word, "=")
		labels = append(labels, &pb.Label{Name: name, Value: value})
	}
	delete(w.named, "label")
	return labels
}
