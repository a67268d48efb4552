package api

import (
	"strings"
	"testing"

	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/proto/seal"
)

func TestSealedSecrets(t *testing.T) {
	key, err := seal.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*pb.SealedSecrets)
		want   string
	}{
		"good":      {func(*pb.SealedSecrets) {}, ""},
		"no box":    {func(s *pb.SealedSecrets) { s.Box = nil }, "are 0 bytes"},
		"large":     {func(s *pb.SealedSecrets) { s.Box = make([]byte, seal.MaxBox+1) }, "bytes, want 1 to"},
		"no ids":    {func(s *pb.SealedSecrets) { s.Ids = nil }, "0 sealed secrets"},
		"many":      {func(s *pb.SealedSecrets) { s.Ids = make([]string, seal.MaxSecrets+1) }, "33 sealed secrets"},
		"unsorted":  {func(s *pb.SealedSecrets) { s.Ids = []string{"b", "a"} }, "not sorted"},
		"twice":     {func(s *pb.SealedSecrets) { s.Ids = []string{"a", "a"} }, "there twice"},
		"odd id":    {func(s *pb.SealedSecrets) { s.Ids = []string{"../a"} }, "secret id"},
		"no key id": {func(s *pb.SealedSecrets) { s.Key = "" }, "key id"},
	} {
		t.Run(name, func(t *testing.T) {
			spec := good()
			if err := seal.Seal(key.Recipient(), "p", spec, map[string][]byte{"a": []byte("1"), "b": []byte("2")}); err != nil {
				t.Fatal(err)
			}
			c.change(spec.Sealed)
			check(t, validateSpec(spec), c.want)
		})
	}
	for text, good := range map[string]bool{"": true, key.Recipient(): true, key.Recipient() + "q": false, strings.ToUpper(key.Recipient()): false} {
		if err := checkRecipient(&pb.PoolConfig{Recipient: text}); (err == nil) != good {
			t.Errorf("recipient %q: %v", text, err)
		}
	}
}

// A submit that is repeated seals anew, to another key after a rotation, and is still
// the same; with a secret more it is another one.
func TestARepeatedSealIsTheSameSubmit(t *testing.T) {
	digest := func(secrets map[string][]byte) [32]byte {
		t.Helper()
		key, err := seal.NewKey()
		if err != nil {
			t.Fatal(err)
		}
		spec := good()
		if err := seal.Seal(key.Recipient(), "p", spec, secrets); err != nil {
			t.Fatal(err)
		}
		text, err := marshal.Marshal(seal.WithoutBox(spec))
		if err != nil {
			t.Fatal(err)
		}
		sum, err := digestOf(spec, text)
		if err != nil {
			t.Fatal(err)
		}
		return sum
	}
	one := map[string][]byte{"a": []byte("1")}
	first := digest(one)
	if digest(one) != first {
		t.Error("sealed again, it is another submit")
	}
	if first == digest(map[string][]byte{"a": []byte("1"), "b": []byte("2")}) {
		t.Error("with one secret more it is the same submit")
	}
}
