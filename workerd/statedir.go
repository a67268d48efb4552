package workerd

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/weirbuild/weir/proto/mtls"
)

// The files of a state directory, beside the journal and the spool.
const (
	lockFile    = "lock"
	keyFile     = "instance-key"
	clusterFile = "cluster.json"
	spoolDir    = "spool"

	keySize = 32 // bytes
)

// stateDir is what makes a worker the same worker after a restart. Only one
// process at a time holds it.
type stateDir struct {
	path    string
	lock    *os.File
	key     []byte
	cluster cluster
}

// cluster is which cluster the worker belongs to and where it was last found.
type cluster struct {
	ID        string   `json:"cluster_id"`
	Addresses []string `json:"addresses"`
}

// openState makes or opens the state directory and locks it.
func openState(path string) (*stateDir, error) {
	if err := checkDir(path); err != nil {
		return nil, err
	}
	lock, err := lockDir(path)
	if err != nil {
		return nil, err
	}
	s := &stateDir{path: path, lock: lock}
	if s.key, err = instanceKey(filepath.Join(path, keyFile)); err == nil {
		s.cluster, err = readCluster(filepath.Join(path, clusterFile))
	}
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return s, nil
}

func checkDir(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return fmt.Errorf("make state directory: %w", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("open state directory: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("open state directory: other users can reach %s (mode %04o), which holds the worker's secrets: run chmod 700 %s", path, mode, path)
	}
	if owner := info.Sys().(*syscall.Stat_t).Uid; int(owner) != os.Geteuid() {
		return fmt.Errorf("open state directory: %s belongs to user %d and this worker runs as %d: start it as the owner, or give the directory to this user", path, owner, os.Geteuid())
	}
	return nil
}

// lockDir refuses a second worker. The lock ends with the process, however that
// ends.
func lockDir(path string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(path, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock state directory: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		holder, _ := os.ReadFile(f.Name()) // only for the message
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock state directory: another worker (pid %s) uses %s: give each worker its own --state-dir",
				strings.TrimSpace(string(holder)), path)
		}
		return nil, fmt.Errorf("lock state directory %s: %w", path, err)
	}
	// Written over what is there, so that a full disk does not stop a restart.
	n, err := fmt.Fprintln(f, os.Getpid())
	if err == nil {
		err = f.Truncate(int64(n))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock state directory: %w", err), f.Close())
	}
	return f, nil
}

// instanceKey reads the worker's identity, or makes it at the first start.
func instanceKey(path string) ([]byte, error) {
	key, err := mtls.ReadSecret(path)
	if errors.Is(err, fs.ErrNotExist) {
		key = make([]byte, keySize)
		rand.Read(key) // never fails
		err = mtls.CreateSecret(path, key)
	}
	if err != nil {
		return nil, fmt.Errorf("open instance key: %w", err)
	}
	if len(key) != keySize {
		return nil, fmt.Errorf("open instance key %s: it has %d bytes, not %d: restore it from a backup, or remove it and run 'weir worker forget' for this worker's name",
			path, len(key), keySize)
	}
	return key, nil
}

func readCluster(path string) (c cluster, err error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	if err != nil {
		return c, fmt.Errorf("read %s, which may be removed: %w", path, err)
	}
	return c, nil
}

// remember stores where the cluster is now, when that is news.
func (s *stateDir) remember(now cluster) error {
	if now.ID == s.cluster.ID && slices.Equal(now.Addresses, s.cluster.Addresses) {
		return nil
	}
	b, err := json.MarshalIndent(now, "", "  ")
	if err != nil {
		return fmt.Errorf("encode cluster: %w", err)
	}
	if err := mtls.WriteSecret(filepath.Join(s.path, clusterFile), append(b, '\n')); err != nil {
		return err
	}
	s.cluster = now
	return nil
}

func (s *stateDir) close() error { return s.lock.Close() }
