package jobkind

import (
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/weirbuild/weir/proto/pb"
)

// Every kind has the same name in a message and in its bytes, whatever else is in it.
func TestAKindHasOneName(t *testing.T) {
	fields := kinds.Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		spec := &pb.JobSpec{
			CacheHint: "h", Slots: 3, Labels: []*pb.Label{{Name: "a", Value: "b"}}, TimeLimitMs: 5,
			Git: &pb.GitContext{Url: "https://git.example.org/app.git"},
		}
		spec.ProtoReflect().Set(f, protoreflect.ValueOfMessage(spec.ProtoReflect().NewField(f).Message()))
		b, err := proto.Marshal(spec)
		if err != nil {
			t.Fatal(err)
		}
		want := string(f.Name())
		if want == customField {
			want += ":" // of no kind
		}
		if Of(spec) != want || OfBytes(b) != want {
			t.Errorf("%s is called %q, and in bytes %q", want, Of(spec), OfBytes(b))
		}
	}
}

func TestWhatIsNotKnownHasNoName(t *testing.T) {
	if got := Of(new(pb.JobSpec)); got != "" {
		t.Errorf("a job without a kind is called %q", got)
	}
	for _, b := range [][]byte{nil, []byte("sim"), {0xff}} {
		if got := OfBytes(b); got != "" {
			t.Errorf("%q is called %q", b, got)
		}
	}
}

// Workers take custom jobs by their own kinds.
func TestCustomJobsHaveTheirOwnKinds(t *testing.T) {
	spec := &pb.JobSpec{CacheHint: "h", Kind: &pb.JobSpec_Custom{Custom: &pb.CustomJob{Kind: "deploy", Payload: []byte("x")}}}
	b, err := proto.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	if Of(spec) != "custom:deploy" || OfBytes(b) != "custom:deploy" || Custom("deploy") != "custom:deploy" {
		t.Errorf("%q, %q", Of(spec), OfBytes(b))
	}
	for n := range len(b) { // cut anywhere, it has no other name
		if got := OfBytes(b[:n]); got != "" && got != "custom:" {
			t.Errorf("of %d bytes: %q", n, got)
		}
	}
}

func TestSealedTo(t *testing.T) {
	spec := &pb.JobSpec{CacheHint: "x", Kind: &pb.JobSpec_Command{Command: &pb.CommandJob{Argv: []string{"make"}}}}
	plain, err := proto.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	spec.Sealed = &pb.SealedSecrets{Key: "k1", Ids: []string{"a"}, Box: []byte("box")}
	sealed, err := proto.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		spec []byte
		want string
	}{{plain, ""}, {sealed, "k1"}, {sealed[:len(sealed)-1], ""}, {[]byte("nonsense"), ""}, {nil, ""}} {
		if got := SealedTo(c.spec); got != c.want {
			t.Errorf("%q is sealed to %q, want %q", c.spec, got, c.want)
		}
	}
}
