package depot

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
)

// Cache is a cache by name. A version of it is a list of directories, the upper
// ones first; what they mean is the store's.
type Cache struct {
	depot *Depot
	hash  string

	mu      sync.Mutex
	version int
	layers  []string // names within the cache's directory
	users   int
}

// current is what the file of that name in a cache's directory has.
type current struct {
	Name    string   `json:"name"`
	Version int      `json:"version"`
	Layers  []string `json:"layers"`
}

// Cache opens a cache. A new one has no layers.
func (d *Depot) Cache(name string) (*Cache, error) {
	sum := sha256.Sum256([]byte(name))
	hash := hex.EncodeToString(sum[:])
	d.mu.Lock()
	defer d.mu.Unlock()
	if c := d.caches[hash]; c != nil {
		return c, nil
	}
	c := &Cache{depot: d, hash: hash}
	if err := os.MkdirAll(c.dir(), 0o700); err != nil {
		return nil, fmt.Errorf("open cache %s: %w", name, err)
	}
	text, err := os.ReadFile(filepath.Join(c.dir(), "current"))
	var last current
	if err == nil {
		err = json.Unmarshal(text, &last)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open cache %s: %w", name, err)
	}
	c.version, c.layers = last.Version, last.Layers
	if err := c.removeOld(); err != nil {
		return nil, fmt.Errorf("open cache %s: %w", name, err)
	}
	d.caches[hash] = c
	return c, nil
}

func (c *Cache) dir() string { return filepath.Join(c.depot.root, caches, c.hash) }

// Begin gives the newest version and its layers, which stay until End.
func (c *Cache) Begin() (version int, layers []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.users++
	for _, l := range c.layers {
		layers = append(layers, filepath.Join(c.dir(), l))
	}
	return c.version, layers
}

// Publish makes a version whose upper layer is the directory work, above the
// layers given, if the newest is still the one that it began with.
func (c *Cache) Publish(name string, began int, work string, below []string) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.version != began {
		return false, nil
	}
	next := current{Name: name, Version: began + 1, Layers: []string{strconv.Itoa(began + 1)}}
	for _, l := range below {
		next.Layers = append(next.Layers, filepath.Base(l))
	}
	if err := c.depot.mark("cache-" + c.hash); err != nil {
		return false, err
	}
	if err := os.Rename(work, filepath.Join(c.dir(), next.Layers[0])); err != nil {
		return false, err
	}
	text, err := json.Marshal(next)
	if err != nil {
		return false, err
	}
	file := filepath.Join(c.dir(), "current")
	if err := os.WriteFile(file+".new", text, 0o600); err != nil {
		return false, err
	}
	if err := os.Rename(file+".new", file); err != nil {
		return false, err
	}
	c.version, c.layers = next.Version, next.Layers
	return true, nil
}

// End lets go of the layers that Begin gave.
func (c *Cache) End() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.users--
	if c.users > 0 {
		return nil
	}
	return c.removeOld()
}

// removeOld removes the layers of versions that nobody has.
func (c *Cache) removeOld() error {
	all, err := names(c.dir())
	for _, name := range all {
		if name != "current" && !slices.Contains(c.layers, name) {
			err = errors.Join(err, os.RemoveAll(filepath.Join(c.dir(), name)))
		}
	}
	return err
}
