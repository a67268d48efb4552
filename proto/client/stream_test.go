package client

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/weirbuild/weir/proto/pb"
)

// A node falls silent in the middle of a log, with its connections open: the log
// goes on from another one, before a keepalive would tell.
func TestTailLeavesASilentNode(t *testing.T) {
	frozen := make(chan struct{})
	defer close(frozen)
	silent := &fakeNode{
		readLog: func(_ *pb.ReadLogRequest, s pb.JobService_ReadLogServer) error {
			if err := s.Send(&pb.LogData{Attempt: 1, Data: []byte("one ")}); err != nil {
				return err
			}
			<-frozen
			return nil
		},
		status: func() (*pb.NodeStatus, error) { <-frozen; return nil, errors.New("late") },
	}
	next := &fakeNode{readLog: func(r *pb.ReadLogRequest, s pb.JobService_ReadLogServer) error {
		return s.Send(&pb.LogData{Attempt: 1, Offset: r.Offset, Data: []byte("one two")[r.Offset:], Complete: true})
	}}
	var got bytes.Buffer
	began := time.Now()
	err := newCluster(t, silent, next).client(t, Options{}).Tail(t.Context(), &pb.ReadLogRequest{Job: 1, Follow: true}, func(d *pb.LogData) error {
		got.Write(d.Data)
		return nil
	})
	if err != nil || got.String() != "one two" {
		t.Errorf("read %q: %v", got.String(), err)
	}
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("it took %v", took)
	}
}

// A node that says nothing because there is nothing to say keeps its stream.
func TestTailStaysWithAQuietNode(t *testing.T) {
	asked := make(chan struct{}, 16)
	quiet := &fakeNode{
		readLog: func(r *pb.ReadLogRequest, s pb.JobService_ReadLogServer) error {
			if r.Offset != 0 {
				t.Error("the log was opened again")
			}
			if err := s.Send(&pb.LogData{Attempt: 1, Data: []byte("one ")}); err != nil {
				return err
			}
			for range 2 { // the client asks, hears, and stays
				<-asked
			}
			return s.Send(&pb.LogData{Attempt: 1, Offset: 4, Data: []byte("two"), Complete: true})
		},
		status: func() (*pb.NodeStatus, error) { asked <- struct{}{}; return &pb.NodeStatus{}, nil },
	}
	var got bytes.Buffer
	err := newCluster(t, quiet).client(t, Options{}).Tail(t.Context(), &pb.ReadLogRequest{Job: 1, Follow: true}, func(d *pb.LogData) error {
		got.Write(d.Data)
		return nil
	})
	if err != nil || got.String() != "one two" {
		t.Errorf("read %q: %v", got.String(), err)
	}
}
