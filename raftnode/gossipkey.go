package raftnode

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"os"
)

const gossipKeySize = 32

// WriteGossipKey makes a key that all nodes of a cluster share. It does not
// overwrite a file.
func WriteGossipKey(path string) error {
	key := make([]byte, gossipKeySize)
	rand.Read(key)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return explainDisk("write gossip key", path, err)
	}
	_, err = fmt.Fprintln(f, base64.StdEncoding.EncodeToString(key))
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return explainDisk("write gossip key", path, err)
	}
	return nil
}

// ReadGossipKey reads a key, and refuses a file that others can read.
func ReadGossipKey(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, explainDisk("read gossip key", path, err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("gossip key %s can be read by others (mode %04o): run chmod 600 %s", path, info.Mode().Perm(), path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, explainDisk("read gossip key", path, err)
	}
	key, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(text)))
	if err != nil || len(key) != gossipKeySize {
		return nil, fmt.Errorf("gossip key %s is not %d bytes in base64: copy it from another node of the cluster", path, gossipKeySize)
	}
	return key, nil
}
