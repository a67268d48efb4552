package sim

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/weirbuild/weir/fsm"
)

// A million jobs over 100 workers of 8 slots: what `weir sim` can do in a minute.
// Run it with -bench Million -benchtime 1x -cpu 1.
func BenchmarkMillion(b *testing.B) {
	for range b.N {
		started, ended := 0, 0
		c, err := New(roomy(), Observer{
			Started: func(*fsm.Job, *fsm.Attempt) { started++ },
			Ended:   func(*fsm.Job) { ended++ },
		})
		if err != nil {
			b.Fatal(err)
		}
		for i := range 100 {
			if err := c.Connect(fmt.Sprint("w", i), 8, nil); err != nil {
				b.Fatal(err)
			}
		}
		submitMillion(b, c)
		for !c.Idle() {
			if err := c.Advance(time.Hour); err != nil {
				b.Fatal(err)
			}
		}
		if started != 1_000_000 || ended != started {
			b.Fatalf("%d jobs started and %d ended", started, ended)
		}
		b.ReportMetric(c.Now().Hours()/24, "days")
	}
}

// submitMillion submits a little more than the workers can do, so that the queue
// grows.
func submitMillion(b *testing.B, c *Cluster) {
	random := rand.New(rand.NewPCG(1, 1))
	for i := range 1_000_000 {
		s := Submission{
			Client: fmt.Sprint("c", i%7), Urgent: i%50 == 0,
			Takes: Takes{Cached: 20 * time.Second, Uncached: 2 * time.Minute},
		}
		if i%3 > 0 {
			s.Hint = fmt.Sprint("h", random.IntN(5000))
		}
		if _, err := c.Submit(s); err != nil {
			b.Fatal(err)
		}
		if err := c.Advance(time.Duration(random.IntN(150)) * time.Millisecond); err != nil {
			b.Fatal(err)
		}
	}
}
