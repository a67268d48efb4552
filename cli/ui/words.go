package ui

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/weirbuild/weir/proto/pb"
)

// State is a job's state in one word, with its outcome once it is over.
func State(j *pb.Job) string {
	switch j.State {
	case pb.JobState_JOB_STATE_QUEUED:
		return "queued"
	case pb.JobState_JOB_STATE_BACKOFF:
		return "back-off"
	case pb.JobState_JOB_STATE_RUNNING:
		if j.CancelRequested {
			return "cancelling"
		}
		return "running"
	case pb.JobState_JOB_STATE_SETTLED:
		return OutcomeKind(j.GetOutcome().GetKind())
	}
	return "unknown"
}

// OutcomeKind is a kind in words: OUTCOME_WORKER_LOST is "worker lost".
func OutcomeKind(k pb.OutcomeKind) string {
	return words(k.String(), "OUTCOME_")
}

// Outcome is an outcome in a few words.
func Outcome(o *pb.Outcome) string {
	switch {
	case o == nil:
		return "running"
	case o.Signal != "":
		return fmt.Sprintf("%s (%s)", OutcomeKind(o.Kind), o.Signal)
	case o.Kind == pb.OutcomeKind_OUTCOME_FAILED && o.ExitCode != 0:
		return fmt.Sprintf("failed (exit code %d)", o.ExitCode)
	}
	return OutcomeKind(o.Kind)
}

// CapabilityKind is a kind in one word.
func CapabilityKind(k pb.CapabilityKind) string {
	return words(k.String(), "CAPABILITY_")
}

func words(name, prefix string) string {
	return strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(name, prefix)), "_", " ")
}

// Size renders bytes with a binary unit.
func Size(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, prefix := float64(n)/unit, 0
	for value >= unit && prefix < 4 {
		value, prefix = value/unit, prefix+1
	}
	return fmt.Sprintf("%.1f %ciB", value, "KMGTP"[prefix])
}

// Count is a number with its noun: 1 job, 12 jobs.
func Count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// Wrap breaks text into lines of at most n characters, at spaces where it can. It
// gives at least one line.
func Wrap(text string, n int) (lines []string) {
	line := ""
	for word := range strings.FieldsSeq(Clean(text)) {
		for _, part := range cutWord(word, n) {
			switch {
			case line == "":
				line = part
			case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(part) <= n:
				line += " " + part
			default:
				lines, line = append(lines, line), part
			}
		}
	}
	return append(lines, line)
}

// cutWord cuts a word that is too long for a line.
func cutWord(word string, n int) (parts []string) {
	for r := []rune(word); len(r) > 0; {
		k := min(len(r), n)
		parts, r = append(parts, string(r[:k])), r[k:]
	}
	return parts
}
