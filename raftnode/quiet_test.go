package raftnode

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
)

func TestQuietRepeatsItselfRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		q := newQuiet(hclog.New(&hclog.LoggerOptions{Output: &out}))
		for range 100 {
			q.Error("failed to heartbeat to", "peer", "a", "backoff time", "10ms")
			q.Warn("failed to heartbeat to", "peer", "b")
			q.Info("hello")
		}
		if n := strings.Count(out.String(), "heartbeat"); n != 2 || strings.Count(out.String(), "hello") != 100 {
			t.Fatalf("%d reports", n)
		}
		<-time.After(repeatEvery) // in the bubble: takes no time
		q.Error("failed to heartbeat to", "peer", "a")
		if n := strings.Count(out.String(), "heartbeat"); n != 3 {
			t.Fatalf("%d reports after a while", n)
		}
	})
}
