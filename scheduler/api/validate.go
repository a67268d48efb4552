package api

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/proto/reason"
)

// Limits of a job's description, beside those of names, labels, hints and the
// size of the whole, which the replicated state sets.
const (
	MaxArgs      = 1024
	MaxArgBytes  = 128 << 10 // all arguments together
	MaxEnv       = 256
	MaxEnvBytes  = 64 << 10 // all names and values together
	MaxDir       = 1024
	MaxURL       = 2048
	MaxCommits   = 16
	MaxTimeLimit = 30 * 24 * time.Hour
	MaxLogLimit  = 16 << 30
)

// validateSpec refuses what could never run, before it costs a commit.
func validateSpec(s *pb.JobSpec) error {
	if s == nil {
		return invalid("the job has no description")
	}
	for _, check := range []func(*pb.JobSpec) error{checkKind, checkGit, checkNeeds, checkBounds, checkSealed} {
		if err := check(s); err != nil {
			return err
		}
	}
	return nil
}

func checkGit(s *pb.JobSpec) error {
	git := s.Git
	if git == nil {
		return nil
	}
	if err := checkURL(git.Url); err != nil {
		return err
	}
	if n := len(git.Commits); n == 0 || n > MaxCommits {
		return invalid("the git context names %d commits, want 1 to %d", n, MaxCommits)
	}
	for _, c := range git.Commits {
		if !commitHash.MatchString(c) {
			return invalid("commit %s: give its full hash, 40 or 64 hex digits (git rev-parse REF prints it): a name could mean another commit for the next attempt", quote(c))
		}
		if len(c) != len(git.Commits[0]) {
			return invalid("the git context names commits of 40 and of 64 digits: a repository has hashes of one length")
		}
	}
	return nil
}

// checkURL never repeats the URL: it may hold the password that it refuses.
func checkURL(text string) error {
	if text == "" || len(text) > MaxURL {
		return invalid("the repository's URL is %d bytes, want 1 to %d", len(text), MaxURL)
	}
	if strings.HasPrefix(text, "-") || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '"' || r == '\\' }) {
		return invalid("the repository's URL begins with '-' or contains a space, a quote, a backslash or a control character")
	}
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" {
		return invalid("the repository's URL is not of the form SCHEME://HOST/PATH (write ssh://git@HOST/PATH for git@HOST:PATH)")
	}
	switch scheme, _, _ := strings.Cut(text, "://"); scheme { // git knows small letters only
	case "http", "https", "git", "ssh":
	default:
		return invalid("the repository's URL has scheme %s: use https, ssh, http or git", quote(scheme))
	}
	if strings.HasPrefix(u.Hostname(), "-") || strings.HasPrefix(u.User.Username(), "-") {
		return invalid("the repository's URL has a host or user that begins with '-'")
	}
	if _, has := u.User.Password(); has || u.User != nil && (u.Scheme != "ssh" || strings.Contains(u.User.Username(), ":")) {
		return invalid("the repository's URL carries credentials, which everyone who sees the job could read: leave them out, and give the worker access instead")
	}
	if strings.Trim(u.Path, "/") == "" || strings.HasPrefix(u.Path, "/-") {
		return invalid("the repository's URL names no repository on its host: write SCHEME://HOST/PATH")
	}
	if u.RawQuery != "" || u.ForceQuery {
		return invalid("the repository's URL has a query (what follows '?'), which everyone who sees the job could read: leave it out, and give the worker access instead")
	}
	if u.Fragment != "" {
		return invalid("the repository's URL has a fragment (what follows '#'): leave it out, and name the commit instead")
	}
	return nil
}

// commitHash is a full one: what a ref names could change between two attempts.
var commitHash = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)

func checkBounds(s *pb.JobSpec) error {
	if s.TimeLimitMs < 0 || s.TimeLimitMs > MaxTimeLimit.Milliseconds() {
		return invalid("the time limit is %d ms, want 0 (the pool's) to %d (30 days)", s.TimeLimitMs, MaxTimeLimit.Milliseconds())
	}
	if s.WaitLimitMs < 0 || s.WaitLimitMs > MaxTimeLimit.Milliseconds() {
		return invalid("the limit on waiting is %d ms, want 0 (the pool's) to %d (30 days)", s.WaitLimitMs, MaxTimeLimit.Milliseconds())
	}
	if s.LogLimitBytes < 0 || s.LogLimitBytes > MaxLogLimit {
		return invalid("the log limit is %d bytes, want 0 (the pool's) to %d", s.LogLimitBytes, int64(MaxLogLimit))
	}
	return nil
}

func invalid(format string, args ...any) error {
	return &fsm.Refusal{Kind: reason.Invalid, Message: fmt.Sprintf(format, args...)}
}

// quote makes what a caller sent fit for a message.
func quote(text string) string {
	const most = 64
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "..."
	}
	return fmt.Sprintf("%q", text)
}

func checkNeeds(s *pb.JobSpec) error {
	if s.Slots > fsm.MaxSlots {
		return invalid("the job asks for %d slots, at most %d are possible", s.Slots, fsm.MaxSlots)
	}
	if err := fsm.ValidateHint(s.CacheHint); err != nil {
		return invalid("%v", err)
	}
	if err := fsm.ValidateConcurrency(s.Concurrency.GetKey(), s.Concurrency.GetMost()); err != nil {
		return invalid("%v", err)
	}
	if s.Concurrency != nil && s.Concurrency.Key == "" {
		return invalid("the job has a concurrency without a key")
	}
	if s.Priority > fsm.MaxPriority {
		return invalid("priority %d is out of range: 0 to %d", s.Priority, fsm.MaxPriority)
	}
	if err := fsm.ValidateRetryExits(s.RetryExitCodes); err != nil {
		return invalid("%v", err)
	}
	if err := fsm.ValidateLabels(s.Labels); err != nil {
		return invalid("%v", err)
	}
	return nil
}
