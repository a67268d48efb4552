package raftnode

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// pairOf connects a lean connection with a plain one.
func pairOf(t *testing.T) (leaned, plain net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialed, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	plain, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dialed.Close(); plain.Close() })
	return lean(dialed), plain
}

// More than the kernel buffers goes through, both ways at once.
func TestLeanConnCarriesBytes(t *testing.T) {
	leaned, plain := pairOf(t)
	if _, ok := leaned.(*leanConn); !ok {
		t.Fatalf("a TCP connection became a %T", leaned)
	}
	sent := make([]byte, 32<<20)
	rand.Read(sent)
	failed := make(chan error, 3)
	go func() { _, err := leaned.Write(sent); failed <- err }()
	go func() { _, err := io.Copy(plain, io.LimitReader(plain, int64(len(sent)))); failed <- err }()
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(leaned, got); err != nil || !bytes.Equal(got, sent) {
		t.Errorf("the echo differs: %v", err)
	}
	for range 2 {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
}

// Its errors are those of any connection.
func TestLeanConnErrors(t *testing.T) {
	leaned, plain := pairOf(t)
	buf := make([]byte, 1)
	if err := leaned.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	var timeout net.Error
	if _, err := leaned.Read(buf); !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("past its deadline: %v", err)
	}
	if err := leaned.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	plain.Close()
	if _, err := leaned.Read(buf); err != io.EOF {
		t.Errorf("after the other end has closed: %v", err)
	}
	leaned.Close()
	if _, err := leaned.Read(buf); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after it was closed: %v", err)
	}
	if _, err := leaned.Write(buf); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after it was closed: %v", err)
	}
}
