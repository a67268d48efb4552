package gitsource

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/weirbuild/weir/proto/mtls"
)

// checkCredentials checks a file of credentials, in the format of git's own store:
// SCHEME://USER:PASSWORD@HOST on each line. Its errors repeat no line.
func checkCredentials(file string) error {
	text, err := mtls.ReadSecret(file)
	if err != nil {
		return fmt.Errorf("read git credentials: %w", err)
	}
	if !filepath.IsAbs(file) || strings.ContainsAny(file, "'\n") {
		return errors.New("read git credentials: want an absolute path, without quotes")
	}
	for i, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		u, err := url.Parse(line)
		if err == nil && (u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User.Username() == "") {
			err = errors.New("incomplete")
		}
		if err != nil {
			return fmt.Errorf("read git credentials: line %d of %s is not of the form https://USER:PASSWORD@HOST", i+1, file)
		}
	}
	return nil
}

// helper makes git ask its own program for the credentials of a host. The program
// reads the file: no value is in an argument or a variable. It may not store what
// worked, nor erase what was refused.
func helper(file string) string {
	return `credential.helper=!f() { test "$1" = get && git credential-store --file='` + file + `' get; }; f`
}
