package gitsource

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// What Validate accepts.
const (
	MaxURL     = 2048 // bytes
	MaxCommits = 16
)

// schemes are the transports that a job's repository, and its submodules, may use.
var schemes = []string{"http", "https", "git", "ssh"}

// Validate refuses a source that could never be checked out, or that must not be:
// an address of another scheme, one that git or ssh could take for an option, one
// that carries a password, and a commit that is not a full hash. It needs no
// network, and its errors never repeat a password.
func Validate(repo string, commits []string) error {
	if err := validateURL(repo); err != nil {
		return err
	}
	switch {
	case len(commits) == 0:
		return errors.New("a repository needs at least one commit")
	case len(commits) > MaxCommits:
		return fmt.Errorf("%d commits: at most %d can be merged", len(commits), MaxCommits)
	}
	for _, c := range commits {
		if len(c) != 40 && len(c) != 64 || strings.Trim(c, "0123456789abcdef") != "" {
			return fmt.Errorf("commit %.80q: want a full hash of 40 or 64 lower-case hexadecimal digits", c)
		}
		if len(c) != len(commits[0]) {
			return errors.New("commits: a repository has hashes of 40 digits or of 64, not both")
		}
	}
	return nil
}

func validateURL(repo string) error {
	if len(repo) > MaxURL {
		return fmt.Errorf("repository address of %d bytes: at most %d are allowed", len(repo), MaxURL)
	}
	// Whitespace, control characters, quotes and backslashes have no place in an address.
	if strings.ContainsFunc(repo, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '"' || r == '\\' }) {
		return errors.New("repository address: it holds a blank, a quote, a backslash or a control character")
	}
	u, err := url.Parse(repo)
	if err != nil {
		return errors.New("repository address: it cannot be read as a URL") // err repeats it
	}
	// With ssh a bare user names an account. Elsewhere it is often a token.
	if _, has := u.User.Password(); has || u.User != nil && (u.Scheme != "ssh" || strings.Contains(u.User.Username(), ":")) {
		return errors.New("repository address: it carries a password or a token, which everyone who sees the job could read; leave it out")
	}
	if u.RawQuery != "" || u.ForceQuery {
		return errors.New("repository address: it has a query, which everyone who sees the job could read; leave it out")
	}
	scheme, _, _ := strings.Cut(repo, "://")
	switch {
	case !slices.Contains(schemes, scheme): // u.Scheme is in small letters, as git wants it
		return fmt.Errorf("repository %q: want a URL that begins with %s://", repo, strings.Join(schemes, "://, "))
	case u.Opaque != "" || u.Hostname() == "" || strings.HasPrefix(u.Host, "-"):
		return fmt.Errorf("repository %q: it names no host", repo)
	case strings.HasPrefix(u.User.Username(), "-"):
		return fmt.Errorf("repository %q: the user begins with a dash", repo)
	case strings.Trim(u.Path, "/") == "" || strings.HasPrefix(u.Path, "/-"):
		return fmt.Errorf("repository %q: it names no repository on that host", repo)
	case u.Fragment != "":
		return fmt.Errorf("repository %q: a URL of a repository has no fragment", repo)
	}
	return nil
}
