package dev

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// sampleFiles are a small Go module whose test needs a good part of the
// standard library compiled.
var sampleFiles = map[string]string{
	"go.mod": "module sample\n\ngo 1.24\n",
	"hello.go": `// Package sample greets over HTTP.
package sample

import (
	"fmt"
	"net/http"
)

// Hello greets whoever asks.
func Hello(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "hello, %s\n", r.URL.Query().Get("name")) }
`,
	"hello_test.go": `package sample

import (
	"net/http/httptest"
	"testing"
)

func TestHello(t *testing.T) {
	w := httptest.NewRecorder()
	Hello(w, httptest.NewRequest("GET", "/?name=weir", nil))
	if got := w.Body.String(); got != "hello, weir\n" {
		t.Errorf("got %q", got)
	}
}
`,
}

// makeSample makes a repository with one commit.
func makeSample(ctx context.Context, dir string) (string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make the sample repository: %w", err)
	}
	for name, text := range sampleFiles {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return "", fmt.Errorf("make the sample repository: %w", err)
		}
	}
	for _, args := range [][]string{{"init", "--quiet"}, {"add", "."}, {"commit", "--quiet", "-m", "greet"}} {
		if _, err := git(ctx, dir, args...); err != nil {
			return "", err
		}
	}
	return dir, nil
}
