package raftnode

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
)

// A bit that a disk has turned in an entry's payload is found at the next start,
// with either store.
func TestATurnedBitIsFound(t *testing.T) {
	t.Parallel()
	for _, store := range []string{Bolt, WAL} {
		t.Run(store, func(t *testing.T) {
			c := newTestCluster(t, 1, func(c *Config) { c.LogStore = store })
			c.startAll()
			c.propose("before")
			c.propose("a recognizable payload")
			c.propose("after")
			n := c.nodes[0]
			must(t, n.shutdown())
			must(t, n.tryStart()) // sound as it is
			must(t, n.shutdown())
			if turned := turnBits(t, n.dir, "recognizable"); turned == 0 {
				t.Fatal("no file holds the payload")
			}
			err := n.tryStart()
			if err == nil || !strings.Contains(err.Error(), errChecksum.Error()) || !strings.Contains(err.Error(), "move the data directory away") {
				t.Fatalf("%v, want the damage and the remedy", err)
			}
		})
	}
}

// turnBits turns a bit of each place below dir that holds text.
func turnBits(t *testing.T, dir, text string) (turned int) {
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		if n := bytes.Count(content, []byte(text)); err == nil && n > 0 {
			turned += n
			other := append([]byte{text[0] ^ 1}, text[1:]...)
			err = os.WriteFile(path, bytes.ReplaceAll(content, []byte(text), other), 0o600)
		}
		return err
	}))
	return turned
}

// memoryLog is a log store of one entry.
type memoryLog struct {
	logStore
	entry raft.Log
}

func (m *memoryLog) StoreLogs(logs []*raft.Log) error      { m.entry = *logs[0]; return nil }
func (m *memoryLog) GetLog(_ uint64, l *raft.Log) error    { *l = m.entry; return nil }
func (m *memoryLog) damage(how func(*raft.Log)) *memoryLog { how(&m.entry); return m }
func (m *memoryLog) checked() checkedLog                   { return checkedLog{m} }

func TestChecksumCoversAnEntry(t *testing.T) {
	entry := raft.Log{Index: 7, Term: 3, Type: raft.LogCommand, Data: []byte("data"), Extensions: []byte("more")}
	stored := func() *memoryLog {
		m := &memoryLog{}
		must(t, m.checked().StoreLog(&entry))
		return m
	}
	var got raft.Log
	must(t, stored().checked().GetLog(7, &got))
	if string(got.Extensions) != "more" || string(entry.Extensions) != "more" {
		t.Fatalf("extensions %q, and the caller's %q", got.Extensions, entry.Extensions)
	}
	must(t, (&memoryLog{entry: raft.Log{Index: 7, Data: []byte("old")}}).checked().GetLog(7, &got)) // from before
	for name, how := range map[string]func(*raft.Log){
		"term": func(l *raft.Log) { l.Term++ }, "index": func(l *raft.Log) { l.Index++ },
		"type": func(l *raft.Log) { l.Type = raft.LogNoop }, "data": func(l *raft.Log) { l.Data = []byte("date") },
		"extensions": func(l *raft.Log) { l.Extensions = append([]byte("l"), l.Extensions[1:]...) },
	} {
		if err := stored().damage(how).checked().GetLog(7, &got); err != errChecksum {
			t.Errorf("%s: %v", name, err)
		}
	}
}
