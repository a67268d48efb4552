package raftnode

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/google/uuid"
)

// dataDir is a node's directory: who it is, and its stores. Only one process
// uses it at a time.
type dataDir struct {
	path string
	lock *os.File
}

const (
	nodeIDFile    = "node-id"
	clusterIDFile = "cluster-id"
	lockFile      = "lock"
)

func openDataDir(path string) (*dataDir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, explainDisk("make data directory", path, err)
	}
	lock, err := os.OpenFile(filepath.Join(path, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, explainDisk("lock data directory", path, err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock data directory %s: another process is using it; stop that one, or give this node its own", path)
		}
		return nil, explainDisk("lock data directory", path, err)
	}
	return &dataDir{path: path, lock: lock}, nil
}

func (d *dataDir) close() error { return d.lock.Close() }

// nodeID returns the node's identity, which is made with the directory. A lost
// identity is not replaced beside existing state: this would be another node
// with the first one's votes.
func (d *dataDir) nodeID(hasState bool) (NodeID, error) {
	id, err := d.readID(nodeIDFile)
	if err != nil || id != "" {
		return NodeID(id), err
	}
	if hasState {
		return "", fmt.Errorf("%s is missing beside existing state: restore it, or move %s away and start empty, so that the node joins again",
			filepath.Join(d.path, nodeIDFile), d.path)
	}
	id = uuid.NewString()
	return NodeID(id), d.writeID(nodeIDFile, id)
}

func (d *dataDir) clusterID() (ClusterID, error) {
	id, err := d.readID(clusterIDFile)
	return ClusterID(id), err
}

func (d *dataDir) setClusterID(id ClusterID) error { return d.writeID(clusterIDFile, string(id)) }

// readID returns "" when there is no such file.
func (d *dataDir) readID(name string) (string, error) {
	path := filepath.Join(d.path, name)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", explainDisk("read", path, err)
	}
	id := strings.TrimSpace(string(b))
	if uuid.Validate(id) != nil {
		return "", fmt.Errorf("read %s: %q is not an id: restore the file, or move %s away and start empty, so that the node joins again", path, id, d.path)
	}
	return id, nil
}

// writeID writes the file so that a crash leaves the old one or the new one.
func (d *dataDir) writeID(name, id string) error {
	path := filepath.Join(d.path, name)
	if err := writeDurably(path, []byte(id+"\n")); err != nil {
		return explainDisk("write", path, err)
	}
	return nil
}

func writeDurably(path string, content []byte) error {
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// explainDisk says what an error of the file system means for the operator.
func explainDisk(operation, path string, err error) error {
	way := ""
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		way = ": the disk is full; make room (nothing is lost) and start again"
	case errors.Is(err, fs.ErrPermission):
		way = ": the node's user must own the directory"
	case errors.Is(err, syscall.EROFS):
		way = ": the file system is read-only, often after a disk error; check the disk"
	}
	return fmt.Errorf("%s %s: %w%s", operation, path, err, way)
}
