package room_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirbuild/weir/workerd/room"
	"github.com/weirbuild/weir/workerd/room/roomtest"
)

func TestKeepsRoomOnAFullDisk(t *testing.T) {
	roomtest.Disk(t, 1<<20, func(t *testing.T, dir string) {
		f, err := os.Create(filepath.Join(dir, "f"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if kept, err := room.Keep(f, 64<<10); err != nil || kept != 64<<10 {
			t.Fatalf("kept %d, %v", kept, err)
		}
		if info, err := f.Stat(); err != nil || info.Size() != 0 {
			t.Fatalf("the file has changed: %v, %v", info.Size(), err)
		}
		if why := room.Short(dir, 512<<10); why != "" {
			t.Error(why)
		}
		roomtest.Fill(t, dir)
		if _, err := f.Write(make([]byte, 64<<10)); err != nil {
			t.Errorf("write into kept room: %v", err)
		}
		if _, err := f.Write(make([]byte, 64<<10)); !room.IsFull(err) {
			t.Errorf("write beyond it: %v", err)
		}
		if _, err := room.Keep(f, 512<<10); !room.IsFull(err) {
			t.Errorf("keep more on a full disk: %v", err)
		}
		if why := room.Short(dir, 1); !strings.Contains(why, "nearly full") {
			t.Errorf("a full disk is said to be %q", why)
		}
	})
}
