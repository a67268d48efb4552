package raftnode

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// Any split of the same commands into entries gives the same results, in the
// same order.
func TestAnySplitGivesTheSameResults(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		commands := make([]proposal, rng.IntN(40))
		for i := range commands {
			commands[i].command = make([]byte, rng.IntN(300))
			for j := range commands[i].command {
				commands[i].command[j] = byte(rng.Uint32())
			}
		}
		var first tally
		whole := applySplit(&first, commands, len(commands))
		var second tally
		split := applySplit(&second, commands, 1+rng.IntN(7))
		if !slices.Equal(whole, split) || !slices.Equal(first.commands, second.commands) {
			t.Fatalf("%d commands: %v and %v", len(commands), whole, split)
		}
	}
}

func applySplit(m *tally, commands []proposal, most int) (results []any) {
	f := &replica{machine: m, observe: func(uint64, []any) {}, log: hclog.NewNullLogger(), metrics: newMetrics(nil)}
	index := uint64(0)
	for chunk := range slices.Chunk(commands, max(1, most)) {
		b := batch{commands: chunk}
		for _, c := range chunk {
			b.size += frameSize(c.command)
		}
		entry := encodeEntry(b)
		if len(entry) != cap(entry) {
			panic("the size of an entry is miscounted")
		}
		index++
		results = append(results, f.Apply(&raft.Log{Index: index, Data: entry}).([]any)...)
	}
	return results
}

func FuzzDecodeEntry(f *testing.F) {
	f.Add([]byte{entryVersion, 3, 'a', 'b', 'c', 0})
	f.Add([]byte{entryVersion, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, entry []byte) {
		commands, err := decodeEntry(entry, nil)
		if err != nil || len(entry) == 0 {
			return
		}
		var b batch
		for _, c := range commands {
			b.commands = append(b.commands, proposal{command: c})
			b.size += frameSize(c)
		}
		again, err := decodeEntry(encodeEntry(b), nil)
		if err != nil || !slices.EqualFunc(commands, again, bytes.Equal) {
			t.Fatalf("%q became %q, %v", commands, again, err)
		}
	})
}

func TestAnEntryOfAnotherVersionStopsTheNode(t *testing.T) {
	f := &replica{machine: &tally{}, observe: func(uint64, []any) {}, metrics: newMetrics(nil)}
	defer func() {
		if recover() == nil {
			t.Fatal("it was applied")
		}
	}()
	f.Apply(&raft.Log{Index: 1, Data: []byte{99}})
}

func TestEmptyEntriesNeverReachTheMachine(t *testing.T) {
	m := &tally{}
	f := &replica{machine: m, observe: func(uint64, []any) {}, metrics: newMetrics(nil)}
	f.Apply(&raft.Log{Index: 1})
	f.Apply(&raft.Log{Index: 2, Data: []byte{entryVersion}})
	if m.batches != 0 || f.applied.Load() != 2 {
		t.Fatalf("%d calls, applied %d", m.batches, f.applied.Load())
	}
}

func TestQueueLimits(t *testing.T) {
	p := newProposer(0, newMetrics(nil))
	if err := p.add(proposal{command: []byte("x")}); !errors.Is(err, ErrNotLeader) {
		t.Fatalf("before it runs: %v", err)
	}
	p.open = true
	big := make([]byte, MaxCommand)
	for err := error(nil); err == nil; {
		if err = p.add(proposal{command: big}); err != nil && !errors.Is(err, ErrBusy) {
			t.Fatal(err)
		}
	}
	if p.bytes > maxQueuedBytes {
		t.Fatalf("%d bytes wait", p.bytes)
	}
	for more := true; more; {
		var b batch
		b, more = p.take()
		if len(b.commands) != 1 {
			t.Fatalf("%d commands of 1 MiB share an entry", len(b.commands))
		}
	}
	for range 1000 {
		must(t, p.add(proposal{command: make([]byte, 1000)}))
	}
	b, _ := p.take()
	if b.size > maxEntry || b.size < maxEntry-1100 {
		t.Fatalf("an entry of %d bytes", b.size)
	}
}
