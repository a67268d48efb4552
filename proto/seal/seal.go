// Package seal closes and opens boxes of secrets: a client seals a job's secrets to
// the age key of a pool (filippo.io/age), and only that pool's workers open them.
//
// It promises that a box opens for its own job only: it is bound to the pool and to
// everything that the job's description says, so that nobody who gets hold of a box,
// a node included, can put it into a job of another making. It promises too that a
// Key that is printed, logged or formatted shows nothing secret, and that errors
// quote no value.
//
// It refuses to decide who may have a key and which recipient is the right one:
// whoever seals compares the recipient's id with one that came by a way that can be
// trusted.
package seal

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"

	"filippo.io/age"
	"google.golang.org/protobuf/proto"

	"github.com/weirbuild/weir/proto/pb"
)

// Limits of a job's secrets.
const (
	MaxSecrets = 32
	MaxBytes   = 64 << 10        // all ids and values together
	MaxBox     = MaxBytes + 8192 // what a box of so much can take
	MaxID      = 63
)

// Errors of Open.
var (
	ErrNoKey    = errors.New("no key that is held here opens it")
	ErrOtherJob = errors.New("the secrets were sealed for another job: somebody changed this one after it was sealed, or took them from elsewhere")
)

var validID = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$`)

// CheckID refuses what can be no secret's id: it is the name of a file, too.
func CheckID(id string) error {
	if !validID.MatchString(id) {
		return fmt.Errorf("secret id %.70q: want 1 to %d of A-Z a-z 0-9 . _ -, first and last a letter or digit", id, MaxID)
	}
	return nil
}

// Check refuses secrets that no job may carry.
func Check(secrets map[string][]byte) error {
	if len(secrets) > MaxSecrets {
		return fmt.Errorf("%d secrets, at most %d are allowed", len(secrets), MaxSecrets)
	}
	size := 0
	for id, value := range secrets {
		if err := CheckID(id); err != nil {
			return err
		}
		if len(value) == 0 {
			return fmt.Errorf("secret %s is empty", id)
		}
		size += len(id) + len(value)
	}
	if size > MaxBytes {
		return fmt.Errorf("the secrets are %d bytes together, at most %d are allowed: seal a key, and encrypt the rest with it", size, MaxBytes)
	}
	return nil
}

// Seal puts secrets, which Check has let pass, into a job for a pool. The rest of
// spec must be complete: it must not change any more.
func Seal(recipient, pool string, spec *pb.JobSpec, secrets map[string][]byte) error {
	if err := Check(secrets); err != nil {
		return err
	}
	to, err := parseRecipient(recipient)
	if err != nil {
		return err
	}
	sealed := &pb.SealedSecrets{Key: KeyID(recipient)}
	set := &pb.SecretSet{}
	for id, value := range secrets {
		sealed.Ids = append(sealed.Ids, id)
		set.Secrets = append(set.Secrets, &pb.Secret{Id: id, Value: value})
	}
	slices.Sort(sealed.Ids)
	slices.SortFunc(set.Secrets, func(a, b *pb.Secret) int { return cmp.Compare(a.Id, b.Id) })
	spec.Sealed = sealed
	if set.JobSha256, err = digest(pool, spec); err != nil {
		return fmt.Errorf("seal secrets: %w", err)
	}
	if sealed.Box, err = encrypt(to, set); err != nil {
		return fmt.Errorf("seal secrets: %w", err)
	}
	return nil
}

func encrypt(to age.Recipient, set *pb.SecretSet) ([]byte, error) {
	plain, err := proto.Marshal(set)
	if err != nil {
		return nil, err
	}
	var box bytes.Buffer
	w, err := age.Encrypt(&box, to)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(plain); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return box.Bytes(), nil
}

// Open returns the secrets of a job that came to a worker of the pool. The box may
// have come beside the spec.
func Open(keys []Key, pool string, spec *pb.JobSpec, box []byte) (map[string][]byte, error) {
	sealed := spec.GetSealed()
	at := slices.IndexFunc(keys, func(k Key) bool { return k.ID() == sealed.GetKey() })
	if at < 0 {
		return nil, ErrNoKey
	}
	set, err := decrypt(keys[at], box)
	if err != nil {
		return nil, err
	}
	want, err := digest(pool, spec)
	if err != nil {
		return nil, err
	}
	if subtle.ConstantTimeCompare(want, set.JobSha256) != 1 {
		return nil, ErrOtherJob
	}
	secrets := make(map[string][]byte, len(set.Secrets))
	for _, s := range set.Secrets {
		secrets[s.Id] = s.Value
	}
	return secrets, Check(secrets)
}

func decrypt(k Key, box []byte) (*pb.SecretSet, error) {
	r, err := age.Decrypt(bytes.NewReader(box), k.identity())
	if err != nil {
		return nil, fmt.Errorf("%w: it is damaged, or was sealed to another key than it says", ErrNoKey)
	}
	plain, err := io.ReadAll(io.LimitReader(r, 2*MaxBytes))
	if err != nil {
		return nil, errors.New("the sealed secrets are damaged")
	}
	set := &pb.SecretSet{}
	if err := proto.Unmarshal(plain, set); err != nil {
		return nil, errors.New("what was sealed are no secrets of a job")
	}
	return set, nil
}

// digest is of the pool and of all that a job's description says but the box.
func digest(pool string, spec *pb.JobSpec) ([]byte, error) {
	bare, err := proto.MarshalOptions{Deterministic: true}.Marshal(WithoutBox(spec))
	if err != nil {
		return nil, err
	}
	h := sha256.New()
	fmt.Fprintf(h, "weir sealed secrets 1\n%d %s\n", len(pool), pool)
	h.Write(bare)
	return h.Sum(nil), nil
}

// WithoutBox returns a description, without its box.
func WithoutBox(spec *pb.JobSpec) *pb.JobSpec {
	if len(spec.GetSealed().GetBox()) == 0 {
		return spec
	}
	bare := proto.CloneOf(spec)
	bare.Sealed.Box = nil
	return bare
}
