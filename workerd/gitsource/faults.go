package gitsource

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Failure says that the source itself is at fault: a commit that is not there, a
// conflict, a repository that may not be read. Another worker would find the same.
type Failure struct{ Reason string }

func (f *Failure) Error() string { return f.Reason }

func failure(format string, args ...any) error { return &Failure{fmt.Sprintf(format, args...)} }

// errDamaged says that a clone of the cache cannot be trusted any more.
var errDamaged = errors.New("the clone cache is damaged")

// fault is what a failed git command's words tell about the cause.
type fault int

const (
	faultUnknown fault = iota
	faultMissing       // the server does not have, or does not give, that commit
	faultRefused       // the server does not give this repository to us
	faultMachine       // the network, the server, or this machine: try again
)

// Git has no exit codes for these. Its messages are in English because of
// LC_ALL=C, and looked up in this order.
var faultWords = []struct {
	fault fault
	words []string
}{
	{faultMissing, []string{"not our ref", "unadvertised object", "couldn't find remote ref", "no such remote ref"}},
	{faultRefused, []string{
		"' not found", "repository not found", "does not appear to be a git repository", "repository not exported",
		"authentication failed", "could not read username", "could not read password", "permission denied (",
		"returned error: 401", "returned error: 403", "returned error: 404", "returned error: 410", "access denied",
	}},
	{faultMachine, []string{
		"no space left on device", "disk quota exceeded", "cannot allocate memory", "out of memory", "read-only file system",
		"could not resolve host", "failed to connect", "connection refused", "connection reset", "connection timed out",
		"operation timed out", "connection closed", "network is unreachable", "no route to host", "unable to connect",
		"the remote end hung up", "early eof", "rpc failed", "returned error: 5", "returned error: 429",
		"operation too slow", "host key verification failed", "ssl certificate", "ssl connection", "ssl_", "gnutls", "empty reply from server",
	}},
}

func faultOf(said string) fault {
	said = strings.ToLower(said)
	for _, f := range faultWords {
		if slices.ContainsFunc(f.words, func(w string) bool { return strings.Contains(said, w) }) {
			return f.fault
		}
	}
	return faultUnknown
}

// lastWords is the line of git's output that says best what went wrong. That a
// submodule's clone failed is not why.
func lastWords(said string) string {
	lines := strings.FieldsFunc(said, func(r rune) bool { return r == '\n' || r == '\r' })
	for _, line := range slices.Backward(lines) {
		for _, prefix := range []string{"fatal: ", "error: ", "remote: "} {
			if rest, ok := strings.CutPrefix(line, prefix); ok && rest != "" && !strings.HasPrefix(rest, "clone of '") {
				return rest
			}
		}
	}
	if len(lines) == 0 {
		return "git says nothing"
	}
	return lines[len(lines)-1]
}
