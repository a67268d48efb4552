package obuilder

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// result is a kept tree, as its file in the index tells it. The file is the last
// thing that is written of a result, and the first that is removed.
type result struct {
	Base    string    `json:"base,omitempty"`
	Created time.Time `json:"created"`
	Image   Image     `json:"image,omitzero"` // of a base image
}

// entry is a result in memory. Its file's time is when it was last used.
type entry struct {
	result
	used time.Time
	pins int // builds that use it now
}

// index knows all results. It has no lock of its own.
type index struct {
	dir     string
	entries map[string]*entry
}

const suffix = ".json"

// openIndex reads the index, and makes it and the store agree: what a crash has
// left of one without the other goes.
func openIndex(dir string, store Store) (*index, error) {
	x := &index{dir: dir, entries: map[string]*entry{}}
	for _, d := range []string{x.dir, x.logs()} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, err
		}
	}
	ids, err := store.List()
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		if err := x.load(id); err != nil {
			return nil, err
		}
	}
	if err := x.dropOrphans(ids, store); err != nil {
		return nil, err
	}
	return x, x.dropFiles()
}

func (x *index) file(id string) string { return filepath.Join(x.dir, id+suffix) }
func (x *index) logs() string          { return filepath.Join(x.dir, "logs") }
func (x *index) log(id string) string  { return filepath.Join(x.logs(), id) }

// load reads a result. One that cannot be read is as good as none.
func (x *index) load(id string) error {
	text, err := os.ReadFile(x.file(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	info, err := os.Stat(x.file(id))
	if err != nil {
		return err
	}
	e := &entry{used: info.ModTime()}
	if json.Unmarshal(text, &e.result) == nil {
		x.entries[id] = e
	}
	return nil
}

// dropOrphans removes trees without a result, and results without their base.
func (x *index) dropOrphans(trees []string, store Store) error {
	for again := true; again; {
		again = false
		for id, e := range x.entries {
			if e.Base != "" && x.entries[e.Base] == nil {
				delete(x.entries, id)
				again = true
			}
		}
	}
	for _, id := range trees {
		if x.entries[id] == nil {
			if err := store.Delete(id); err != nil {
				return err
			}
		}
	}
	return nil
}

// dropFiles removes the files of what is not a result.
func (x *index) dropFiles() error {
	for _, dir := range []string{x.dir, x.logs()} {
		files, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, f := range files {
			if !f.IsDir() && x.entries[strings.TrimSuffix(f.Name(), suffix)] == nil {
				if err := os.Remove(filepath.Join(dir, f.Name())); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// add keeps a result whose tree and log are kept already.
func (x *index) add(id string, r result) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	temporary := filepath.Join(x.logs(), id+".new")
	if err := os.WriteFile(temporary, text, 0o600); err != nil {
		return err
	}
	return os.Rename(temporary, x.file(id))
}

// touch notes that a result is used now.
func (x *index) touch(id string, now time.Time) error {
	x.entries[id].used = now
	return os.Chtimes(x.file(id), now, now)
}

// remove forgets a result, before its tree is deleted.
func (x *index) remove(id string) error {
	if err := os.Remove(x.file(id)); err != nil {
		return fmt.Errorf("forget result %s: %w", id, err)
	}
	delete(x.entries, id)
	return nil
}

// parents are the results that others are based on.
func (x *index) parents() map[string]int {
	n := map[string]int{}
	for _, e := range x.entries {
		n[e.Base]++
	}
	return n
}
