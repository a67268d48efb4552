package fetch

import (
	"fmt"
	"runtime"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/match"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/weirbuild/weir/workerd/obuilder"
)

const (
	ociPrefix     = "oci:"
	archivePrefix = "docker-archive:"
)

// localRef splits a reference to a file of this machine: its path is absolute,
// or begins with a dot.
func localRef(ref string) (kind, path string, ok bool) {
	for _, prefix := range []string{ociPrefix, archivePrefix} {
		path, ok := strings.CutPrefix(ref, prefix)
		if ok && (strings.HasPrefix(path, "/") || strings.HasPrefix(path, ".")) {
			return prefix, path, true
		}
	}
	return "", "", false
}

func openLocal(kind, path string) (v1.Image, error) {
	if kind == archivePrefix {
		img, err := tarball.ImageFromPath(path, nil)
		if err != nil {
			return nil, obuilder.Failed("image %s%s: %s", kind, path, err)
		}
		return img, nil
	}
	img, err := openLayout(path)
	if err != nil {
		return nil, obuilder.Failed("image %s%s: %s", kind, path, err)
	}
	return img, nil
}

// openLayout opens the image of an OCI layout: the only one for this platform,
// or the one with the tag that may follow the path.
func openLayout(path string) (v1.Image, error) {
	tag := ""
	if i := strings.LastIndexByte(path, ':'); i > strings.LastIndexByte(path, '/') {
		path, tag = path[:i], path[i+1:]
	}
	index, err := layout.ImageIndexFromPath(path)
	if err != nil {
		return nil, err
	}
	fits := match.Platforms(platform())
	if tag != "" {
		fits = match.Name(tag)
	}
	images, err := partial.FindImages(index, fits)
	if err == nil && len(images) == 0 && tag == "" {
		images, err = partial.FindImages(index, func(v1.Descriptor) bool { return true })
	}
	switch {
	case err != nil:
		return nil, err
	case len(images) != 1 && tag == "":
		return nil, fmt.Errorf("the layout has %d images: name one with oci:PATH:TAG", len(images))
	case len(images) == 0:
		return nil, fmt.Errorf("the layout has no image with the tag %s", tag)
	}
	return images[0], nil
}

func platform() v1.Platform { return v1.Platform{OS: "linux", Architecture: runtime.GOARCH} }
