package mtls

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

const (
	secretMode fs.FileMode = 0o600
	publicMode fs.FileMode = 0o644

	// maxSecretSize bounds what ReadSecret reads, in bytes.
	maxSecretSize = 1 << 20
)

// WriteSecret writes a file that only its owner may read (mode 0600). After a
// crash the path holds either the old content or the new, never a part.
func WriteSecret(path string, data []byte) error {
	return writeFile(path, data, secretMode, os.Rename)
}

// CreateSecret is WriteSecret for a file that must not exist yet: it returns an
// error that wraps fs.ErrExist rather than replace one.
func CreateSecret(path string, data []byte) error {
	return writeFile(path, data, secretMode, os.Link)
}

// writeFile writes beside path, makes it durable, and then puts it in place.
func writeFile(path string, data []byte, mode fs.FileMode, place func(from, to string) error) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*") // CreateTemp makes files 0600
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() {
		if e := os.Remove(f.Name()); e != nil && !errors.Is(e, fs.ErrNotExist) && err == nil {
			err = fmt.Errorf("write %s: %w", path, e)
		}
	}()
	_, err = f.Write(data)
	if err == nil {
		err = errors.Join(f.Chmod(mode), f.Sync())
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := place(f.Name(), path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return syncDir(dir)
}

// ReadSecret reads a file of at most 1 MiB and refuses one that other users of
// the machine may read or write.
func ReadSecret(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o007 != 0 {
		return nil, fmt.Errorf("read %s: other users of this machine can read this secret (mode %04o): run chmod 600 %s",
			path, info.Mode().Perm(), path)
	}
	var data bytes.Buffer
	n, err := io.Copy(&data, io.LimitReader(f, maxSecretSize+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if n > maxSecretSize {
		return nil, fmt.Errorf("read %s: longer than %d bytes: this is not the right file", path, maxSecretSize)
	}
	return data.Bytes(), nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
