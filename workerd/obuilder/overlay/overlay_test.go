package overlay_test

import (
	"os"
	"strings"
	"testing"

	"github.com/weirbuild/weir/workerd/obuilder"
	"github.com/weirbuild/weir/workerd/obuilder/overlay"
	"github.com/weirbuild/weir/workerd/obuilder/storetest"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(root string) (obuilder.Store, error) { return overlay.Open(root) })
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || strings.Contains(string(mounts), os.TempDir()+"/TestStore") {
		t.Errorf("mounts were left: %v", err)
	}
}
