package workerd

import (
	"bytes"
	"compress/gzip"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// The cluster can ask for nothing but what the worker's operator named, and the
// operator can name nothing but this machine.
func TestPagesOfOtherMachinesAreRefused(t *testing.T) {
	for pair, ok := range map[string]bool{
		"room=http://127.0.0.1:9000/metrics": true, "room=http://[::1]:9000/": true, "host-metrics=http://localhost:9101/metrics": true,
		"room": false, "room=": false, "=http://127.0.0.1/": false, "metrics=http://127.0.0.1/": false, "Room=http://127.0.0.1/": false,
		"a/b=http://127.0.0.1/": false, "room=https://127.0.0.1/": false, "room=http://10.0.0.1/": false, "room=http://example.org/": false,
		"room=http://169.254.169.254/latest": false, "room=http://user:secret@127.0.0.1/": false, "room=file:///etc/passwd": false,
	} {
		if _, err := newPages(prometheus.NewRegistry(), []string{pair}); (err == nil) != ok {
			t.Errorf("%s: %v", pair, err)
		}
	}
}

func TestLargePageIsRefused(t *testing.T) {
	var size int
	exporter := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, strings.Repeat("x", size))
	}))
	defer exporter.Close()
	p, err := newPages(prometheus.NewRegistry(), []string{"big=" + exporter.URL})
	if err != nil {
		t.Fatal(err)
	}
	for _, size = range []int{0, pageBytes} {
		zipped, err := p.page(t.Context(), "big")
		if err != nil {
			t.Fatal(err)
		}
		text, err := gzip.NewReader(bytes.NewReader(zipped))
		if err != nil {
			t.Fatal(err)
		}
		if all, err := io.ReadAll(text); err != nil || len(all) != size {
			t.Errorf("%d bytes of %d, %v", len(all), size, err)
		}
	}
	size = pageBytes + 1
	if _, err := p.page(t.Context(), "big"); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("%d bytes: %v", size, err)
	}
}

// What cannot be packed small enough never becomes a message: that would end the
// session.
func TestPageThatPacksBadlyIsRefused(t *testing.T) {
	noise := make([]byte, packedBytes+packedBytes/8)
	rand.NewChaCha8([32]byte{1}).Read(noise)
	exporter := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(noise) }))
	defer exporter.Close()
	p, err := newPages(prometheus.NewRegistry(), []string{"noise=" + exporter.URL})
	if err != nil {
		t.Fatal(err)
	}
	if zipped, err := p.page(t.Context(), "noise"); err == nil || !strings.Contains(err.Error(), "when it is packed") {
		t.Errorf("%d bytes, %v", len(zipped), err)
	}
}
