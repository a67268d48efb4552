package command

import (
	"io"
	"testing"

	"github.com/weirbuild/weir/workerd/supervise"
)

// BenchmarkTrue is a whole job that does nothing, without a checkout.
func BenchmarkTrue(b *testing.B) {
	for _, m := range modes() {
		b.Run(m.String(), func(b *testing.B) {
			r := &supervise.Runner{Mode: m}
			b.Cleanup(r.Close)
			e := newExecutor(b, r)
			spec := script(":")
			for b.Loop() {
				if _, err := e.Run(b.Context(), task(spec), io.Discard); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
