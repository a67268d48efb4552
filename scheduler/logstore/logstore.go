// Package logstore keeps the logs of builds on a node.
//
// A log is a string of bytes that only grows, is sealed once it is complete, and
// is dropped when its job is forgotten. A [Store] promises that what was synced
// is there after any crash, that bytes are returned as they came or not at all,
// and that a sealed log has the length and the digest it was sealed with.
//
// It does not replicate, knows nothing of jobs beyond their numbers, and decides
// nothing but which logs go when the node's byte budget is used up.
package logstore

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
)

// Key names the log of one attempt of a job.
type Key struct {
	Job     uint64
	Attempt uint32
}

func (k Key) String() string { return fmt.Sprintf("%d/%d", k.Job, k.Attempt) }

// Digest is the SHA-256 of a whole log.
type Digest [sha256.Size]byte

func (d Digest) String() string { return fmt.Sprintf("sha256:%x", d[:]) }

// The errors that callers tell apart. Others come from the disk.
var (
	// ErrNotFound: this node has nothing of the log.
	ErrNotFound = errors.New("no such log on this node")
	// ErrGap: the bytes before the offset are missing; send from the end that Append returned.
	ErrGap = errors.New("bytes before this offset are missing")
	// ErrSealed: the log is complete and takes no more bytes.
	ErrSealed = errors.New("the log is sealed")
	// ErrMismatch: the log is not what it should be sealed as.
	ErrMismatch = errors.New("the log differs from what was announced")
	// ErrExpired: the log was removed to keep the byte budget.
	ErrExpired = errors.New("the log has expired: it was removed to keep the node's byte budget")
	// ErrDamaged: stored bytes are not what was written. The rest of the log can
	// still be read; drop it and copy it again from another node.
	ErrDamaged = errors.New("the stored log is damaged: drop it and copy it again from another node")
	// ErrFull: the disk has no room. Nothing that was synced is lost; try again when there is room.
	ErrFull = errors.New("the disk of the log store is full: make room or lower its byte budget")
	// ErrClosed: the store was closed.
	ErrClosed = errors.New("the log store is closed")
)

// Info is what a store knows of a log.
type Info struct {
	Size    int64 // bytes that can be read, from 0
	Durable int64 // bytes of these that survive a crash
	Sealed  bool  // complete; durable after a Sync that began later
	Expired bool  // removed to keep the byte budget; Size is 0
	Damaged bool  // some bytes are lost: drop it and copy it again
}

// Piece is a part of one log.
type Piece struct {
	Key    Key
	Offset int64
	Data   []byte
	Packed []byte // Data as package logpack packs it, or nil: what the disk may keep instead
	End    *End   // the log is to be sealed after it
}

// End is what a whole log must be.
type End struct {
	Bytes  int64
	Digest Digest
}

// Written is what became of a Piece.
type Written struct {
	End int64 // as Append's
	Err error // Append's, or else Seal's
}

// Usage is how full a store is.
type Usage struct {
	DiskBytes   int64 // files, with what is not yet reclaimed
	LiveBytes   int64 // what is needed of it
	BudgetBytes int64 // DiskBytes should stay below; more only while unsealed logs need it
	Logs        int   // stored logs, sealed or not
	Unsealed    int
	Expired     int // logs that are remembered as expired, until they are dropped
	Segments    int
}

// Store keeps logs. Its methods may be called concurrently, also for one log.
type Store interface {
	// Append adds bytes at an offset and returns the log's new end. They can be
	// read at once and are durable after Sync. Bytes below the current end are
	// known and skipped; an offset above it is ErrGap and returns the end. When
	// it fails halfway, the returned end says how far it came.
	Append(k Key, offset int64, data []byte) (end int64, err error)

	// Put is an Append for each piece, and a Seal for each that has an End, in
	// their order but with few writes for all of them. One piece's error does not
	// touch the others.
	Put(pieces []Piece) []Written

	// Sync returns when all that Append, Seal and Drop did before the call is on
	// disk. Concurrent callers share the work. When a disk fails to sync, all that
	// it had not made durable is taken back, whoever wrote it: acknowledge what
	// Stat says after Sync, not what was appended before.
	Sync(ctx context.Context) error

	// ReadAt fills p from an offset. It returns io.EOF with fewer bytes at the
	// current end, whether or not the log is sealed.
	ReadAt(k Key, p []byte, off int64) (int, error)

	// PackedAt returns the packed piece that begins at an offset and how many bytes
	// of the log it is; nil where the log is kept otherwise there.
	PackedAt(k Key, off int64) (packed []byte, n int64, err error)

	// Stat returns what is known of a log; false when nothing is.
	Stat(k Key) (Info, bool)

	// Seal marks a log complete if it has this length and digest, else it returns
	// ErrMismatch and changes nothing. An unknown log can be sealed as empty.
	// To seal again with the same values is allowed.
	Seal(k Key, bytes int64, digest Digest) error

	// Digest returns the length and the digest of a log as it is now.
	Digest(k Key) (int64, Digest, error)

	// Watch returns a channel that gets a value when the log grows, is sealed,
	// dropped, or expires. Values are not counted: look at Stat after each.
	// The log may begin later. Call cancel when done.
	Watch(k Key) (wake <-chan struct{}, cancel func())

	// Drop forgets logs, known or not, expired ones included.
	Drop(keys ...Key) error

	// Keys ranges over all logs, expired ones included, in no order. It shows
	// what was there at the call, except for logs that went meanwhile.
	Keys() iter.Seq2[Key, Info]

	Usage() Usage

	// Close syncs and ends the store. Calls after it return ErrClosed.
	Close() error
}
