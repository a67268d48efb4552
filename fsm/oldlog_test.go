package fsm_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/fsm/fsmtest"
)

// TestOldLogs replays the logs that are kept in testdata, one for each feature
// level, and compares the results and the end with what they were then: nodes of
// different builds must agree. Never rewrite one. To add one for a new level, name
// it in the list and run once with -update.
func TestOldLogs(t *testing.T) {
	for _, name := range []string{"level-1", "level-2", "level-3", "level-4"} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join("testdata", name+".log.gz")
			if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) && *update {
				keepLog(t, file)
			}
			want, err := os.ReadFile(strings.TrimSuffix(file, ".log.gz") + ".sum")
			if err != nil {
				t.Fatal(err)
			}
			if got := sumOf(t, readLog(t, file)); got != string(want) {
				t.Errorf("the log gives\n%sand gave\n%s", got, want)
			}
		})
	}
}

// sumOf replays a log and sums up the results and the state.
func sumOf(t *testing.T, log [][]byte) string {
	t.Helper()
	s, results := fsm.New(), sha256.New()
	for _, data := range log {
		io.WriteString(results, fsmtest.Render(s.Apply(decode(t, data))))
	}
	return fmt.Sprintf("results %x\nstate %x\n", results.Sum(nil), s.Hash())
}

func keepLog(t *testing.T, file string) {
	t.Helper()
	log, _, _ := record(t, 2026, 1500)
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	for _, data := range log {
		w.Write(append(binary.AppendUvarint(nil, uint64(len(data))), data...))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, packed.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(strings.TrimSuffix(file, ".log.gz")+".sum", []byte(sumOf(t, log)), 0o644); err != nil {
		t.Fatal(err)
	}
}

func readLog(t *testing.T, file string) (log [][]byte) {
	t.Helper()
	packed, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	for len(data) > 0 {
		size, n := binary.Uvarint(data)
		log = append(log, data[n:n+int(size)])
		data = data[n+int(size):]
	}
	return log
}
