package overlay

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/weirbuild/weir/workerd/obuilder/depot"
	"github.com/weirbuild/weir/workerd/obuilder/tree"
)

// maxCacheLayers is how many layers a cache has before they become one.
const maxCacheLayers = 16

// cacheDraft is a private copy of a cache: a layer above its newest version.
type cacheDraft struct {
	cache   *depot.Cache
	name    string
	version int
	below   []string
	*mount
}

func (d *cacheDraft) Dir() string {
	if len(d.below) == 0 {
		return d.upper
	}
	return d.merged
}

func (d *cacheDraft) Commit() error {
	layer, below, err := d.settle()
	if err == nil {
		_, err = d.cache.Publish(d.name, d.version, layer, below)
	}
	if err != nil {
		err = fmt.Errorf("keep cache %s: %w", d.name, err)
	}
	return errors.Join(err, d.Discard())
}

// settle gives the layers of the new version: the new one and those below, or
// a single copy of them all when they have become many.
func (d *cacheDraft) settle() (layer string, below []string, err error) {
	if len(d.below) < maxCacheLayers {
		return d.upper, d.below, d.unmount()
	}
	flat := filepath.Join(d.dir, "flat")
	if err := os.Mkdir(flat, 0o700); err != nil {
		return "", nil, err
	}
	if err := tree.Copy(d.merged, flat, nil); err != nil {
		return "", nil, err
	}
	return flat, nil, d.unmount()
}

func (d *cacheDraft) Discard() error { return errors.Join(d.end(), d.cache.End()) }
