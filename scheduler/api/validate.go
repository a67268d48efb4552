package api

import (
	"fmt"
	"net/url"
	"path"
	"regexp"
	"slices"
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
	checks := []func(*pb.JobSpec) error{checkGit, checkNeeds, checkBounds}
	switch s.Kind.(type) {
	case *pb.JobSpec_Command:
		checks = append([]func(*pb.JobSpec) error{checkCommand, checkEnv, checkDir}, checks...)
	case *pb.JobSpec_Obuilder:
		checks = append(checks, checkOBuilder)
	default:
		return invalid("the job is of a kind that this cluster does not know: use a command or an OBuilder job, or upgrade the nodes")
	}
	for _, check := range checks {
		if err := check(s); err != nil {
			return err
		}
	}
	return nil
}

func checkCommand(s *pb.JobSpec) error {
	argv := s.GetCommand().Argv
	if len(argv) == 0 || argv[0] == "" {
		return invalid("the job has no command: give one after --")
	}
	if len(argv) > MaxArgs {
		return invalid("the command has %d arguments, at most %d are allowed", len(argv), MaxArgs)
	}
	size := 0
	for i, a := range argv {
		if strings.ContainsRune(a, 0) {
			return invalid("argument %d of the command contains a zero byte", i)
		}
		size += len(a) + 1
	}
	if size > MaxArgBytes {
		return invalid("the command's arguments are %d bytes, at most %d are allowed: put long ones in a file of the repository", size, MaxArgBytes)
	}
	return nil
}

// checkOBuilder leaves the language to clients and workers, who know it.
func checkOBuilder(s *pb.JobSpec) error {
	text := s.GetObuilder().GetSpec()
	switch {
	case strings.TrimSpace(text) == "":
		return invalid("the job's OBuilder spec is empty")
	case strings.ContainsRune(text, 0):
		return invalid("the job's OBuilder spec contains a zero byte")
	}
	return nil
}

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`)

// reservedEnv begins the names that only the worker gives.
const reservedEnv = "WEIR_"

func checkEnv(s *pb.JobSpec) error {
	env := s.GetCommand().Env
	if len(env) > MaxEnv {
		return invalid("the job sets %d environment variables, at most %d are allowed", len(env), MaxEnv)
	}
	size := 0
	seen := make(map[string]bool, len(env))
	for _, e := range env {
		switch {
		case !envName.MatchString(e.GetName()):
			return invalid("environment variable %s: a name is 1 to 128 letters, digits and '_', and begins with no digit", quote(e.GetName()))
		case strings.HasPrefix(e.Name, reservedEnv):
			return invalid("environment variable %s: names that begin with %s are the worker's", e.Name, reservedEnv)
		case seen[e.Name]:
			return invalid("environment variable %s is set twice", e.Name)
		case strings.ContainsRune(e.Value, 0):
			return invalid("the value of environment variable %s contains a zero byte", e.Name)
		}
		seen[e.Name] = true
		size += len(e.Name) + len(e.Value) + 2
	}
	if size > MaxEnvBytes {
		return invalid("the job's environment is %d bytes, at most %d are allowed", size, MaxEnvBytes)
	}
	return nil
}

func checkDir(s *pb.JobSpec) error {
	dir := s.GetCommand().Dir
	switch {
	case dir == "":
		return nil
	case len(dir) > MaxDir:
		return invalid("the working directory's name is %d bytes, at most %d are allowed", len(dir), MaxDir)
	case path.IsAbs(dir), strings.ContainsRune(dir, 0), slices.Contains(strings.Split(dir, "/"), ".."):
		return invalid("working directory %s: give it relative to the checkout, without '..'", quote(dir))
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
	if err := fsm.ValidateLabels(s.Labels); err != nil {
		return invalid("%v", err)
	}
	return nil
}
