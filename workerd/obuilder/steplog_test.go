package obuilder

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A step's log keeps its beginning, says where it was cut, and lets the step go on.
func TestStepLogIsLimited(t *testing.T) {
	file := filepath.Join(t.TempDir(), "log")
	l, err := createLog(file)
	if err != nil {
		t.Fatal(err)
	}
	l.size = maxStepLog - 5 // as if so much had been written
	for _, text := range []string{"123", "45789", "89"} {
		if n, err := l.Write([]byte(text)); n != len(text) || err != nil {
			t.Errorf("write %q: %d, %v", text, n, err)
		}
	}
	l.end()
	l.leave()
	text, err := os.ReadFile(file)
	if err != nil || !strings.HasPrefix(string(text), "12345\n[the rest of this step's output was dropped") || strings.Contains(string(text), "789") {
		t.Errorf("the log is %q, %v", text, err)
	}
}

// Readers get all of it, whenever they come.
func TestStepLogIsFollowed(t *testing.T) {
	l, err := createLog(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	logs := make(chan string)
	read := func() {
		var out bytes.Buffer
		err := l.follow(t.Context(), &out)
		l.leave()
		if err != nil {
			out.WriteString(err.Error())
		}
		logs <- out.String()
	}
	go read()
	var want string
	for i := range 100 {
		text := strings.Repeat(string(rune('a'+i%26)), i)
		want += text
		if _, err := l.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if i == 50 {
			l.attach()
			go read()
		}
	}
	l.end()
	for range 2 {
		if got := <-logs; got != want {
			t.Errorf("read %d bytes, want %d", len(got), len(want))
		}
	}
	if err := l.file.Close(); err == nil {
		t.Error("the file stayed open after the last reader")
	}
}
