package obuilder_test

import (
	"strings"
	"testing"

	"github.com/weirbuild/weir/workerd/obuilder/enginetest"
	"github.com/weirbuild/weir/workerd/room/roomtest"
)

// A disk that fills in the middle of a build fails that build, which says so, and
// the room that the build took is there for the next one.
func TestFullDisk(t *testing.T) {
	enginetest.NeedRoot(t)
	for kind := range stores {
		t.Run(kind, func(t *testing.T) {
			roomtest.Disk(t, 32<<20, func(t *testing.T, dir string) {
				b := newBenchIn(t, kind, dir)
				for _, test := range []struct{ steps, log string }{
					{`(run (shell "dd if=/dev/zero of=/big bs=1M count=64"))`, "No space left on device"},
					{`(run (shell "yes 'a line that fills the disk' | head -c 67108864"))`, "a line that fills the disk"},
				} {
					out := newOutput()
					_, err := b.Build(b.Context(), b.request(test.steps), out)
					if err == nil || !strings.Contains(err.Error(), "the disk of "+dir) || !strings.Contains(err.Error(), "is nearly full") {
						t.Errorf("%s: %v, want an error that names the disk", test.steps, err)
					}
					if !strings.Contains(out.String(), test.log) {
						t.Errorf("%s: the log has no %q: %.500s", test.steps, test.log, out.String())
					}
				}
				b.build(b.request(`(run (shell "dd if=/dev/zero of=/small bs=1M count=8 && rm /small"))`))
			})
		})
	}
}
