package fsm

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/weirbuild/weir/proto/pb"
)

// The limits on what is stored, each checked by the state itself. Lengths are
// in bytes.
const (
	MaxSpecBytes   = 256 << 10 // a marshalled job spec
	MaxSealedBytes = 96 << 10  // a job's box of sealed secrets
	MaxNameLen     = 63        // pools, clients, workers, label names
	MaxValueLen    = 64        // label values, node ids, versions
	MaxHintLen     = 256
	MaxKeyLen      = 128 // request key ids
	MaxNoteLen     = 200
	MaxReasonLen   = 1 << 10 // an outcome's message, a cancellation's reason
	MaxOutputLen   = 4 << 10 // an outcome's output
	MaxLabels      = 32      // of one job or worker
	MaxSlots       = 4096    // of one worker
	MaxPriority    = 100
	MaxPermits     = 10_000 // of one concurrency key
	MaxRetryExits  = 32     // exit codes after which a job is tried again
	MaxAttempts    = 32     // kept of one job, and the most that a pool may ask for
	MaxLogHolders  = 15
	MaxChanges     = 10_000 // entries of the audit
	MaxChangeText  = 512    // each text of one
	MaxHappenings  = 1000   // in one Tell
	MaxTrim        = 1000   // jobs in one Trim
	MaxPools       = 256
	MaxWorkers     = 10_000 // of one pool
	MaxClients     = 10_000
	MaxCapability  = 10_000    // the oldest revoked ones make room
	MaxKeys        = 1_000_000 // request keys remembered of one client
	MaxHints       = 100_000   // (hint, worker) pairs of one pool; the least recently used make room
	MaxCosts       = 20_000    // measured durations of one pool; the least recently measured make room
	MaxQueued      = 10_000_000
	MaxKeepJobs    = 10_000_000
	MaxDuration    = 366 * 24 * 3600 * 1000 // ms, of any setting of a pool
	MaxLogBytes    = 1 << 40
	MinRate        = 0.001
	MaxRate        = 1_000_000
	MinLeaseTTL    = 1000           // ms
	KeyWindow      = 3600 * 1000    // ms that a request key is remembered
	MaxKeySkew     = 3600 * 1000    // ms that a request key's time may be ahead
	MinKeep        = 10 * 60 * 1000 // ms that a settled job is kept, unless
	HardKeepMargin = 100_000        // the pool has this many more than it keeps
	dueBatch       = 1000           // jobs that end their back-off, and keys that expire, in one command
)

// The grammar, in one place:
//
//	name   1 to 63 of A-Z a-z 0-9 . _ -, beginning and ending with a letter or
//	       digit: pools, clients, workers, and the names of labels, in which
//	       / is allowed too
//	value  0 to 64 of A-Z a-z 0-9 . _ - + : / @ =: values of labels, versions
//	key    1 to 128 printable ASCII characters without space: request keys
//	hint   1 to 256 bytes of UTF-8 without control characters

// ValidateName checks the name of a pool, client or worker; what says which in
// the error.
func ValidateName(what, name string) error {
	return validateName(what, name, "")
}

func validateName(what, name, extra string) error {
	switch {
	case name == "":
		return fmt.Errorf("%s has no name", what)
	case len(name) > MaxNameLen:
		return fmt.Errorf("%s name %s is %d characters long; at most %d", what, quote(name), len(name), MaxNameLen)
	case !letterOrDigit(name[0]) || !letterOrDigit(name[len(name)-1]):
		return fmt.Errorf("%s name %s must begin and end with a letter or digit", what, quote(name))
	}
	if i := strings.IndexFunc(name, outside("._-"+extra)); i >= 0 {
		return fmt.Errorf("%s name %s: %s is not allowed; use letters, digits and any of ._-%s", what, quote(name), charAt(name, i), extra)
	}
	return nil
}

// ValidateLabel checks one label of a job or worker.
func ValidateLabel(name, value string) error {
	if err := validateName("label", name, "/"); err != nil {
		return err
	}
	return validateValue("label "+name, value)
}

func validateValue(what, value string) error {
	if len(value) > MaxValueLen {
		return fmt.Errorf("%s: value %s is %d characters long; at most %d", what, quote(value), len(value), MaxValueLen)
	}
	if i := strings.IndexFunc(value, outside("._-+:/@=")); i >= 0 {
		return fmt.Errorf("%s: value %s: %s is not allowed; use letters, digits and any of ._-+:/@=", what, quote(value), charAt(value, i))
	}
	return nil
}

// ValidateLabels checks a set of labels: at most MaxLabels, sorted by name, each
// name once.
func ValidateLabels(labels []*pb.Label) error {
	if len(labels) > MaxLabels {
		return fmt.Errorf("%d labels; at most %d", len(labels), MaxLabels)
	}
	for i, l := range labels {
		if err := ValidateLabel(l.GetName(), l.GetValue()); err != nil {
			return err
		}
		if i > 0 && labels[i-1].GetName() >= l.GetName() {
			return fmt.Errorf("label %s is repeated or out of order: labels are sorted by name", l.GetName())
		}
	}
	return nil
}

// ValidateHint checks a cache hint; empty means none and is good.
func ValidateHint(hint string) error {
	if len(hint) > MaxHintLen {
		return fmt.Errorf("cache hint is %d bytes long; at most %d", len(hint), MaxHintLen)
	}
	return validateText("cache hint", hint)
}

// ValidateRequestKey checks the id of a request key.
func ValidateRequestKey(id string) error {
	if id == "" || len(id) > MaxKeyLen {
		return fmt.Errorf("request key is %d characters long; 1 to %d", len(id), MaxKeyLen)
	}
	if i := strings.IndexFunc(id, func(r rune) bool { return r <= ' ' || r > '~' }); i >= 0 {
		return fmt.Errorf("request key %s: %s is not allowed; use printable ASCII without spaces", quote(id), charAt(id, i))
	}
	return nil
}

// ValidateNote checks the free text that goes with a capability.
func ValidateNote(note string) error {
	if len(note) > MaxNoteLen {
		return fmt.Errorf("note is %d bytes long; at most %d", len(note), MaxNoteLen)
	}
	return validateText("note", note)
}

// ValidateRate checks a client's rate.
func ValidateRate(rate float64) error {
	if !(rate >= MinRate && rate <= MaxRate) { // so that NaN is refused
		return fmt.Errorf("rate %v is not allowed: the jobs a client expects to run at once, %v to %d", rate, MinRate, MaxRate)
	}
	return nil
}

// ValidatePoolConfig checks an operator's choices for a pool.
func ValidatePoolConfig(c *pb.PoolConfig) error {
	for _, f := range []struct {
		name       string
		value, max int64
	}{
		{"lease TTL", c.GetLeaseTtlMs(), MaxDuration},
		{"attempts", int64(c.GetAttempts()), MaxAttempts},
		{"back-off", c.GetBackoffMs(), MaxDuration},
		{"maximum back-off", c.GetMaxBackoffMs(), MaxDuration},
		{"queued jobs", c.GetMaxQueued(), MaxQueued},
		{"queued jobs per client", c.GetMaxQueuedPerClient(), MaxQueued},
		{"finished jobs kept", c.GetKeepJobs(), MaxKeepJobs},
		{"time that finished jobs are kept", c.GetKeepForMs(), MaxDuration * 10},
		{"time limit", c.GetTimeLimitMs(), MaxDuration},
		{"log limit", c.GetLogLimitBytes(), MaxLogBytes},
		{"cached cost", c.GetCachedCostMs(), MaxDuration},
		{"uncached cost", c.GetUncachedCostMs(), MaxDuration},
		{"wait limit", c.GetWaitLimitMs(), MaxDuration},
		{"urgent jobs per hour", c.GetMaxUrgentPerHour(), MaxQueued},
		{"running jobs", c.GetMaxRunning(), MaxQueued},
		{"running jobs per client", c.GetMaxRunningPerClient(), MaxQueued},
		{"wait of a wide job", c.GetWideAfterMs(), MaxDuration},
	} {
		if f.value < 0 || f.value > f.max {
			return fmt.Errorf("%s of %d is out of range: 0 (the default) to %d", f.name, f.value, f.max)
		}
	}
	for _, s := range []pb.Switch{c.GetLearn(), c.GetSteal()} {
		if s < pb.Switch_SWITCH_UNSPECIFIED || s > pb.Switch_SWITCH_OFF {
			return fmt.Errorf("learn or steal is neither on nor off, but %d", s)
		}
	}
	if ttl := c.GetLeaseTtlMs(); ttl != 0 && ttl < MinLeaseTTL {
		return fmt.Errorf("lease TTL of %d ms is too short: at least %d ms", ttl, MinLeaseTTL)
	}
	return validateRecipient(c.GetRecipient())
}

// validateRules checks what a submit says of when its job may run, and again.
func validateRules(c *pb.SubmitJob) error {
	if leash := c.GetLeashMs(); leash < 0 || leash > MaxDuration {
		return fmt.Errorf("leash of %d ms is out of range: 0 to %d", leash, MaxDuration)
	}
	return validateJobRules(c.GetConcurrency().GetKey(), c.GetConcurrency().GetMost(), c.GetPriority(), c.GetRetryExitCodes())
}

func validateJobRules(key string, most, priority uint32, exits []int32) error {
	if err := ValidateConcurrency(key, most); err != nil {
		return err
	}
	if priority > MaxPriority {
		return fmt.Errorf("priority %d is out of range: 0 to %d", priority, MaxPriority)
	}
	return ValidateRetryExits(exits)
}

// ValidateConcurrency checks a concurrency key and how many jobs may run with it at
// once; neither is good too.
func ValidateConcurrency(key string, most uint32) error {
	switch {
	case key == "" && most == 0:
		return nil
	case key == "" || len(key) > MaxHintLen:
		return fmt.Errorf("concurrency key is %d bytes long; 1 to %d", len(key), MaxHintLen)
	case most < 1 || most > MaxPermits:
		return fmt.Errorf("concurrency key %s: %d jobs at once are out of range: 1 to %d", quote(key), most, MaxPermits)
	}
	return validateText("concurrency key", key)
}

// ValidateRetryExits checks exit codes after which a job is tried again: sorted,
// each once.
func ValidateRetryExits(exits []int32) error {
	if len(exits) > MaxRetryExits {
		return fmt.Errorf("%d exit codes to retry after; at most %d", len(exits), MaxRetryExits)
	}
	for i, code := range exits {
		if code < 1 || code > 255 || i > 0 && exits[i-1] >= code {
			return fmt.Errorf("exit code %d to retry after is repeated, out of order or out of range: 1 to 255", code)
		}
	}
	return nil
}

// validateRecipient bounds what is kept. Whether it is an age recipient is for those
// to say who seal to it.
func validateRecipient(text string) error {
	rest, ok := strings.CutPrefix(text, "age1")
	if text == "" || ok && rest != "" && len(text) <= 128 && strings.Trim(rest, "abcdefghijklmnopqrstuvwxyz0123456789") == "" {
		return nil
	}
	return fmt.Errorf("recipient %s of secrets is malformed: want age1 and what follows", quote(text))
}

func validateText(what, text string) error {
	if !utf8.ValidString(text) {
		return fmt.Errorf("%s is not valid UTF-8", what)
	}
	if i := strings.IndexFunc(text, unicode.IsControl); i >= 0 {
		return fmt.Errorf("%s has a control character at byte %d", what, i)
	}
	return nil
}

func validateHolders(ids []string) error {
	if len(ids) == 0 || len(ids) > MaxLogHolders {
		return fmt.Errorf("a log has 1 to %d holders, not %d", MaxLogHolders, len(ids))
	}
	for i, id := range ids {
		if id == "" {
			return fmt.Errorf("a holder has no node id")
		}
		if err := validateValue("node id", id); err != nil {
			return err
		}
		if i > 0 && ids[i-1] >= id {
			return fmt.Errorf("holder %s is repeated or out of order: node ids are sorted", id)
		}
	}
	return nil
}

func validateSize(what string, n, most int) error {
	if n < 0 || n > most {
		return fmt.Errorf("%s of %d is out of range: at most %d", what, n, most)
	}
	return nil
}

func digestOf(what string, sum []byte) (d Digest, err error) {
	if len(sum) != len(d) {
		return d, fmt.Errorf("%s is %d bytes long; a SHA-256 has %d", what, len(sum), len(d))
	}
	copy(d[:], sum)
	return d, nil
}

func letterOrDigit(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

func outside(extra string) func(rune) bool {
	return func(r rune) bool {
		return r >= utf8.RuneSelf || !letterOrDigit(byte(r)) && !strings.ContainsRune(extra, r)
	}
}

func charAt(s string, i int) string {
	r, _ := utf8.DecodeRuneInString(s[i:])
	return fmt.Sprintf("%q", r)
}

// quote shows what may be hostile input, at a bounded length.
func quote(s string) string {
	if len(s) > 80 {
		s = s[:80] + "..."
	}
	return fmt.Sprintf("%q", s)
}

// clip shortens text for people to at most limit bytes of valid UTF-8.
func clip(s string, limit int) string {
	if s = strings.ToValidUTF8(s, "\uFFFD"); len(s) <= limit {
		return s
	}
	const mark = "..."
	cut := limit - len(mark)
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + mark
}

func sortedUnique(names []string) []string {
	out := slices.Clone(names)
	slices.Sort(out)
	return slices.Compact(out)
}
