package obuilder

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
)

// item is a file, link or directory that is copied.
type item struct {
	Path    string `json:"-"` // in the source
	Name    string // of itself; empty: the source's root
	Hash    string // of a file's content
	Exec    bool   // of a file
	Target  string // of a link
	Entries []item // of a directory, in order of their names
	Kind    string // "file", "link" or "dir"
}

// scan describes what a source names, without anything that is excluded.
func scan(root *os.Root, source string, exclude []string) (item, error) {
	clean := strings.TrimPrefix(path.Clean("/"+source), "/")
	if clean == "" {
		clean = "."
	}
	if err := checkWay(root, clean, source); err != nil {
		return item{}, err
	}
	s := &scanner{root, exclude}
	return s.item(clean)
}

// checkWay refuses a path that leads through a link: what it means could change.
func checkWay(root *os.Root, clean, source string) error {
	parts := strings.Split(clean, "/")
	for i := range parts {
		way := strings.Join(parts[:i+1], "/")
		info, err := root.Lstat(way)
		last := i == len(parts)-1
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return Failed("source %q is not there: check the path, which begins at the root of the context or of the nested build", source)
		case err != nil:
			return fmt.Errorf("look at source %q: %w", source, err)
		case !last && info.Mode()&fs.ModeSymlink != 0:
			return Failed("source %q: %s is a symbolic link, which copies do not go through: name the directory that it points to", source, way)
		case !last && !info.IsDir():
			return Failed("source %q: %s is not a directory", source, way)
		}
	}
	return nil
}

type scanner struct {
	root    *os.Root
	exclude []string
}

func (s *scanner) item(name string) (item, error) {
	it := item{Path: name, Name: path.Base(name)}
	if name == "." {
		it.Name = ""
	}
	info, err := s.root.Lstat(name)
	if err != nil {
		return it, fmt.Errorf("look at source: %w", err)
	}
	switch {
	case info.IsDir():
		it.Kind = "dir"
		it.Entries, err = s.entries(name)
	case info.Mode().IsRegular():
		it.Kind, it.Exec = "file", info.Mode()&0o111 != 0
		it.Hash, err = s.hash(name)
	case info.Mode()&fs.ModeSymlink != 0:
		it.Kind = "link"
		it.Target, err = s.root.Readlink(name)
	default:
		err = Failed("source %q is a %s: only files, directories and symbolic links can be copied", name, kindOf(info.Mode()))
	}
	return it, err
}

func kindOf(m fs.FileMode) string {
	switch {
	case m&fs.ModeNamedPipe != 0:
		return "named pipe"
	case m&fs.ModeSocket != 0:
		return "socket"
	}
	return "device"
}

func (s *scanner) entries(dir string) ([]item, error) {
	d, err := s.root.Open(dir)
	if err != nil {
		return nil, err
	}
	names, err := d.Readdirnames(-1)
	if err = errors.Join(err, d.Close()); err != nil {
		return nil, err
	}
	slices.Sort(names)
	var all []item
	for _, name := range names {
		if slices.Contains(s.exclude, name) {
			continue
		}
		it, err := s.item(path.Join(dir, name))
		if err != nil {
			return nil, err
		}
		all = append(all, it)
	}
	return all, nil
}

func (s *scanner) hash(name string) (string, error) {
	f, err := s.root.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
