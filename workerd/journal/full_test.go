package journal

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirbuild/weir/workerd/room/roomtest"
)

// The results of what ran when the disk became full are stored on it, also when
// the file is due to be written anew, and after a restart.
func TestAFullDiskTakesResults(t *testing.T) {
	roomtest.Disk(t, 8<<20, func(t *testing.T, dir string) {
		j := open(t, dir)
		long := strings.Repeat("x", 4000)
		lease := uint64(0)
		add := func(settle bool) {
			t.Helper()
			lease++
			begin(t, j, lease)
			finish(t, j, lease, long)
			if settle {
				j.Settle(lease)
			}
		}
		for j.size < compactAbove-2*int64(len(long)) {
			add(true)
		}
		before := lease
		filler := roomtest.Fill(t, dir)
		for range 50 {
			add(false)
		}
		if err := j.Err(); err != nil {
			t.Fatal(err)
		}
		if j.size < compactAbove {
			t.Fatalf("the file was written anew on a full disk, or is too small for this test: %d bytes", j.size)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		j = open(t, dir)
		if got := len(j.Results()); got != 50 {
			t.Errorf("%d results after a restart, want 50", got)
		}
		for n := before + 1; n <= lease; n++ {
			j.Settle(n)
		}
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
		for j.size > compactAbove/2 { // it is written anew at four times its size when it was opened
			add(true)
			if j.size > 8*compactAbove {
				t.Fatal("with room again the file is not written anew")
			}
		}
		info, err := os.Stat(filepath.Join(dir, fileName))
		if err != nil || info.Size() != j.size {
			t.Errorf("the file: %v, %v; the journal thinks that it has %d bytes", info.Size(), err, j.size)
		}
	})
}
