package docker

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/weirbuild/weir/workerd/mask"
)

// progress is one of BuildKit's progress records, as far as it matters here.
type progress struct {
	Vertexes []struct {
		Digest    string
		Inputs    []string
		Name      string
		Started   *time.Time
		Completed *time.Time
		Cached    bool
		Error     string
	}
	Logs []struct {
		Vertex string
		Data   []byte
	}
}

// narrator makes a log of BuildKit's records: each step's name once it runs, then
// what it prints. Where steps run side by side, a name that comes again says whose
// lines follow. It is an io.Writer for the program's whole output.
type narrator struct {
	out     io.Writer
	hide    [][]byte  // values that what is kept must not show
	kept    *stepLogs // nil: nothing is kept, and nothing replayed
	sources string
	quiet   bool // only look for errors

	line    []byte // that has not ended yet
	steps   map[string]*stepState
	current *stepState
	midLine bool
	err     string // of the first step that failed
	said    string // the program's own error, or its last line that is no record
}

// stepState is a step of the build.
type stepState struct {
	digest   string
	inputs   []string
	name     string
	key      string // under which its log is kept; empty: not known yet
	fromHere bool   // it depends on files of the context
	told     bool
	over     bool
	log      bytes.Buffer
}

// contextStep is what BuildKit calls the transfer of the context.
const contextStep = "[internal] load build context"

// internal begins the names of steps that are not the Dockerfile's.
const internal = "[internal] "

// maxLine is far more than any record has.
const maxLine = 64 << 20

// Write implements io.Writer.
func (n *narrator) Write(p []byte) (int, error) {
	written := len(p)
	for {
		line, rest, ended := bytes.Cut(p, []byte("\n"))
		if len(n.line)+len(line) > maxLine {
			return 0, fmt.Errorf("read progress records: one is over %d bytes", maxLine)
		}
		n.line = append(n.line, line...)
		if !ended {
			return written, nil
		}
		err := n.handle(n.line)
		n.line, p = n.line[:0], rest
		if err != nil {
			return 0, err
		}
	}
}

// handle reads one line: a record, or what the program says itself.
func (n *narrator) handle(line []byte) error {
	var r progress
	if !bytes.HasPrefix(line, []byte("{")) || json.Unmarshal(line, &r) != nil {
		n.hear(strings.TrimSpace(string(line)))
		return n.say(nil, append(slices.Clone(line), '\n'))
	}
	if n.steps == nil {
		n.steps = map[string]*stepState{}
	}
	for _, v := range r.Vertexes {
		if n.steps[v.Digest] == nil {
			n.steps[v.Digest] = &stepState{digest: v.Digest, inputs: v.Inputs, name: oneLine(v.Name)}
		}
	}
	for _, v := range r.Vertexes {
		if err := n.advance(n.steps[v.Digest], v.Started != nil, v.Completed != nil, v.Cached, v.Error); err != nil {
			return err
		}
	}
	for _, l := range r.Logs {
		s := n.steps[l.Vertex]
		if s == nil {
			s = &stepState{name: "[unknown step]"}
			n.steps[l.Vertex] = s
		}
		s.keep(l.Data)
		if err := n.say(s, l.Data); err != nil {
			return err
		}
	}
	return nil
}

// hear keeps what explains a failure best. What a registry has answered may follow
// the program's error, on lines of its own.
func (n *narrator) hear(line string) {
	if line != "" && !strings.HasPrefix(n.said, programError) {
		n.said = line
	}
}

// identify finds a name for a step's log. BuildKit's own digest will do, except
// behind the context, where it is another one each time.
func (n *narrator) identify(s *stepState) {
	if s.key != "" {
		return
	}
	s.key = s.digest
	s.fromHere = s.name == contextStep
	parts := []string{position.ReplaceAllString(s.name, "")}
	for _, digest := range s.inputs {
		if in := n.steps[digest]; in != nil {
			n.identify(in)
			s.fromHere = s.fromHere || in.fromHere
			parts = append(parts, in.key)
		}
	}
	if s.fromHere {
		s.key = digestOf(strings.Join(parts, "\n"))
	}
}

// position is where a step is in its stage.
var position = regexp.MustCompile(`^\[([^\]]* )?[0-9]+/[0-9]+\] `)

// advance tells that a step has begun, or ended.
func (n *narrator) advance(s *stepState, started, completed, cached bool, fault string) error {
	if started && !s.told && !strings.HasPrefix(s.name, internal) {
		if err := n.turnTo(s); err != nil {
			return err
		}
	}
	if !completed || s.over {
		return nil
	}
	switch {
	case fault != "":
		s.over = true
		if n.err == "" && !strings.HasSuffix(fault, "context canceled") {
			n.err = fault
		}
	case cached:
		s.over = true
		n.identify(s)
		return n.replay(s)
	case s.log.Len() > 0 && n.kept != nil:
		s.over = true
		n.identify(s)
		return n.kept.save(s.key, n.sourcesOf(s), []byte(mask.String(s.log.String(), n.hide...)))
	}
	return nil
}

// sourcesOf is what a step's log depends on beside its key.
func (n *narrator) sourcesOf(s *stepState) string {
	if s.fromHere {
		return n.sources
	}
	return ""
}

// replay gives a cached step's last log, where it is kept.
func (n *narrator) replay(s *stepState) error {
	if n.kept == nil || n.quiet || strings.HasPrefix(s.name, internal) {
		return nil
	}
	log, same := n.kept.load(s.key, n.sourcesOf(s))
	note := "---> cached"
	switch {
	case len(log) == 0:
	case same:
		note = "---> cached, its log again:"
	default:
		note = "---> cached; the log of its last run here, on other sources or arguments:"
	}
	return n.say(s, append([]byte(note+"\n"), log...))
}

// say writes to the log. A step other than the last one is named first.
func (n *narrator) say(s *stepState, text []byte) error {
	if n.quiet || len(text) == 0 {
		return nil
	}
	if s != n.current || s != nil && !s.told {
		if err := n.turnTo(s); err != nil {
			return err
		}
	}
	n.midLine = text[len(text)-1] != '\n'
	return n.write(text)
}

// turnTo names the step whose lines follow. Nil is the program itself.
func (n *narrator) turnTo(s *stepState) error {
	n.current = s
	if n.quiet {
		return nil
	}
	text := ""
	if n.midLine {
		text, n.midLine = "\n", false
	}
	if s != nil {
		text += s.name + "\n"
		s.told = true
	}
	return n.write([]byte(text))
}

func (n *narrator) write(text []byte) error {
	if len(text) == 0 {
		return nil
	}
	if _, err := n.out.Write(text); err != nil {
		return fmt.Errorf("write log: %w", err)
	}
	return nil
}

// maxStepLog is how much of a step's log is kept for later, in bytes.
const maxStepLog = 1 << 20

func (s *stepState) keep(data []byte) {
	s.log.Write(data[:min(len(data), maxStepLog-s.log.Len())])
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
