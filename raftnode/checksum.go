package raftnode

import (
	"encoding/binary"
	"errors"
	"hash/crc32"

	"github.com/hashicorp/raft"
)

// errChecksum is what reading an entry says that is not the one written.
var errChecksum = errors.New("its checksum does not match")

// checkedLog is a log store that never returns an entry other than the one it was
// given: a bit that a disk has turned would make this node's state another than
// the cluster's, and nobody would know. It keeps a checksum behind an entry's
// extensions, which Raft leaves to its users. An entry without one, from before
// they were kept, passes.
type checkedLog struct{ logStore }

const checksumSize = 4

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum covers all of an entry that takes part in replication.
func checksum(l *raft.Log, extensions []byte) uint32 {
	var head [17]byte
	binary.BigEndian.PutUint64(head[:], l.Index)
	binary.BigEndian.PutUint64(head[8:], l.Term)
	head[16] = byte(l.Type)
	sum := crc32.Update(0, castagnoli, head[:])
	sum = crc32.Update(sum, castagnoli, extensions)
	return crc32.Update(sum, castagnoli, l.Data)
}

func (s checkedLog) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

// StoreLogs stores copies: the entries themselves are on their way to others.
func (s checkedLog) StoreLogs(logs []*raft.Log) error {
	copies, pointers := make([]raft.Log, len(logs)), make([]*raft.Log, len(logs))
	for i, l := range logs {
		copies[i], pointers[i] = *l, &copies[i]
		n := len(l.Extensions)
		copies[i].Extensions = binary.BigEndian.AppendUint32(l.Extensions[:n:n], checksum(l, l.Extensions))
	}
	return s.logStore.StoreLogs(pointers)
}

func (s checkedLog) GetLog(index uint64, l *raft.Log) error {
	if err := s.logStore.GetLog(index, l); err != nil {
		return err
	}
	n := len(l.Extensions) - checksumSize
	if n < 0 {
		return nil
	}
	sum := binary.BigEndian.Uint32(l.Extensions[n:])
	if l.Extensions = l.Extensions[:n]; n == 0 {
		l.Extensions = nil
	}
	if l.Index != index || sum != checksum(l, l.Extensions) {
		return errChecksum
	}
	return nil
}
