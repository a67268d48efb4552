package docker

import (
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"golang.org/x/sys/unix"

	"github.com/weirbuild/weir/workerd/obuilder/inroot"
)

// repositories reads what --allow-push names: repositories, or registries.
func repositories(names []string) ([]string, error) {
	var all []string
	for _, n := range names {
		full, err := prefix(strings.TrimSuffix(n, "/"))
		if err != nil {
			return nil, fmt.Errorf("allow pushes to %q: %w", n, err)
		}
		all = append(all, full)
	}
	return all, nil
}

// prefix is the full name of a registry alone, of a user of Docker Hub, or of a
// repository.
func prefix(text string) (string, error) {
	if !strings.Contains(text, "/") && strings.ContainsAny(text, ".:") {
		registry, err := name.NewRegistry(text)
		if err != nil {
			return "", err
		}
		return registry.RegistryStr(), nil
	}
	full, err := canonical(text)
	return strings.Replace(full, name.DefaultRegistry+"/library/", name.DefaultRegistry+"/", 1), err
}

// component is a part of a repository's path, by the grammar that registries have:
// there is no "..".
var component = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*$`)

// canonical is the full name of a repository.
func canonical(text string) (string, error) {
	repository, err := name.NewRepository(text)
	if err != nil {
		return "", err
	}
	for part := range strings.SplitSeq(repository.RepositoryStr(), "/") {
		if !component.MatchString(part) {
			return "", fmt.Errorf("%q cannot be a part of a repository's name", part)
		}
	}
	return repository.Name(), nil
}

// repository is the part of a reference before its tag.
func repository(reference string) string {
	slash := strings.LastIndex(reference, "/")
	if colon := strings.LastIndex(reference, ":"); colon > slash {
		return reference[:colon]
	}
	return reference
}

// mayPush refuses references that are in no repository that the worker allows.
func (e *Executor) mayPush(references ...string) error {
	for _, r := range references {
		if r == "" {
			continue
		}
		if _, err := name.NewTag(r); err != nil {
			return fmt.Errorf("push to %s: %w", r, err)
		}
		full, err := canonical(repository(r))
		if err != nil {
			return fmt.Errorf("push to %s: %w", r, err)
		}
		if !allows(e.allowed, full) {
			return fmt.Errorf("this worker allows no push to %s: %s", repository(r), e.allowance())
		}
	}
	return nil
}

func allows(allowed []string, full string) bool {
	for _, a := range allowed {
		if full == a || strings.HasPrefix(full, a+"/") {
			return true
		}
	}
	return false
}

func (e *Executor) allowance() string {
	if len(e.allowed) == 0 {
		return "its operator names repositories with --allow-push"
	}
	return "it allows " + strings.Join(e.allowed, ", ") + ", and what is below"
}

// inContext checks that a path is that of a regular file in a directory, with no
// link on the way.
func inContext(dir, path string) error {
	root, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &fs.PathError{Op: "open context", Path: dir, Err: err}
	}
	defer unix.Close(root)
	fd, err := inroot.Openat2(root, path, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS})
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
		return failed("Dockerfile %s is not in the repository", path)
	case errors.Is(err, unix.ELOOP):
		return failed("Dockerfile %s is a symbolic link, or behind one: name the file itself", path)
	case errors.Is(err, unix.EXDEV), errors.Is(err, unix.EINVAL):
		return failed("Dockerfile %s leads out of the repository", path)
	case err != nil:
		return &fs.PathError{Op: "open Dockerfile", Path: path, Err: err}
	}
	defer unix.Close(fd)
	var s unix.Stat_t
	if err := unix.Fstat(fd, &s); err != nil {
		return &fs.PathError{Op: "look at Dockerfile", Path: path, Err: err}
	}
	if s.Mode&unix.S_IFMT != unix.S_IFREG {
		return failed("Dockerfile %s is not a regular file", path)
	}
	return nil
}
