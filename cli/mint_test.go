package cli

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/weirbuild/weir/proto/capability"
	"github.com/weirbuild/weir/proto/client"
	"github.com/weirbuild/weir/proto/mtls"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/proto/reason"
)

// A capability is made once per cluster, or once per client: its secret must
// survive whatever happens between the cluster's answer and the file.
func TestMintGoesOnWhereItStopped(t *testing.T) {
	file := filepath.Join(t.TempDir(), "admin.cap")
	e := &env{stdout: io.Discard, stderr: io.Discard}
	var asked [][]byte
	answer := func(err error, do func()) func([]byte) (*pb.NewCapability, error) {
		return func(hash []byte) (*pb.NewCapability, error) {
			asked = append(asked, hash)
			do()
			return &pb.NewCapability{
				Addresses: []string{"n1:7000"}, CaPins: []string{mtls.Pin{1}.String()},
				Capability: &pb.Capability{Id: "cap-1", Kind: pb.CapabilityKind_CAPABILITY_ADMIN},
			}, err
		}
	}
	nothing := func() {}
	unknown := coded(t, codes.Unavailable, reason.UnknownOutcome)
	if err := e.mint(file, answer(unknown, nothing)); err == nil || !strings.Contains(err.Error(), file+".pending") {
		t.Fatalf("an unknown outcome: %v", err)
	}
	inTheWay := func() {
		if err := os.MkdirAll(filepath.Join(file, "x"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.mint(file, answer(nil, inTheWay)); err == nil || !strings.Contains(err.Error(), "capability cap-1 is made") {
		t.Fatalf("a file that cannot be written: %v", err)
	}
	if err := os.RemoveAll(file); err != nil {
		t.Fatal(err)
	}
	if err := e.mint(file, answer(nil, nothing)); err != nil {
		t.Fatal(err)
	}
	c, err := capability.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	for i, hash := range asked {
		if !bytes.Equal(hash, client.TokenHash(c.Token())) {
			t.Errorf("try %d asked for another secret than the one in the file", i+1)
		}
	}
	if err := e.mint(file, answer(nil, nothing)); exitCode(err) != exitUsage || len(asked) != 3 {
		t.Errorf("over a file that is there: %v, %d calls", err, len(asked))
	}
	expectFiles(t, filepath.Dir(file), "admin.cap")
}

func TestMintForgetsARefusedSecret(t *testing.T) {
	file := filepath.Join(t.TempDir(), "admin.cap")
	e := &env{stdout: io.Discard, stderr: io.Discard}
	refused := coded(t, codes.FailedPrecondition, reason.Refused)
	err := e.mint(file, func([]byte) (*pb.NewCapability, error) { return nil, refused })
	if exitCode(err) != exitRefused {
		t.Errorf("a refusal: %v", err)
	}
	expectFiles(t, filepath.Dir(file))
}

func expectFiles(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	if strings.Join(names, " ") != strings.Join(want, " ") {
		t.Errorf("the directory holds %v, want %v", names, want)
	}
}

// coded is an error as a node answers it.
func coded(t *testing.T, code codes.Code, why string) error {
	t.Helper()
	s, err := status.New(code, "said so").WithDetails(&errdetails.ErrorInfo{Reason: why, Domain: reason.Domain})
	if err != nil {
		t.Fatal(err)
	}
	return s.Err()
}
