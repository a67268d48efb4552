package supervise

import (
	"io"
	"testing"
)

// BenchmarkTrue is what a supervisor adds to a command that does nothing.
func BenchmarkTrue(b *testing.B) {
	for _, m := range modes() {
		b.Run(m.String(), func(b *testing.B) {
			r := &Runner{Mode: m}
			b.Cleanup(r.Close)
			for b.Loop() {
				if _, err := r.Run(b.Context(), shell("m", ":"), io.Discard); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
