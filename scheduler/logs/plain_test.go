package logs

import (
	"net"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/weirbuild/weir/proto/pb"
)

// BenchmarkPlainStream is what BenchmarkTail is measured against: the same bytes
// in one gRPC stream, thrown away at its end.
func BenchmarkPlainStream(b *testing.B) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := grpc.NewServer()
	pb.RegisterJobServiceServer(server, &source{n: b.N})
	var wg sync.WaitGroup
	wg.Go(func() { server.Serve(listener) })
	defer wg.Wait()
	defer server.Stop()
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	b.SetBytes(sourceBytes)
	stream, err := pb.NewJobServiceClient(conn).ReadLog(b.Context(), &pb.ReadLogRequest{})
	for err == nil {
		_, err = stream.Recv()
	}
}

const sourceBytes = 32000

type source struct {
	pb.UnimplementedJobServiceServer
	n int
}

func (s *source) ReadLog(_ *pb.ReadLogRequest, stream grpc.ServerStreamingServer[pb.LogData]) error {
	data := []byte(strings.Repeat("x", sourceBytes*8))
	for range s.n / 8 {
		if err := stream.Send(&pb.LogData{Data: data}); err != nil {
			return err
		}
	}
	return nil
}
