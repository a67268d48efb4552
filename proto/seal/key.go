package seal

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"regexp"

	"filippo.io/age"
)

// Key opens what was sealed to its recipient. The zero Key is none.
type Key struct {
	own *age.X25519Identity
}

// NewKey makes a key.
func NewKey() (Key, error) {
	own, err := age.GenerateX25519Identity()
	if err != nil {
		return Key{}, fmt.Errorf("make a pool's key: %w", err)
	}
	return Key{own}, nil
}

// ParseKey reads what Reveal returned. Its errors do not quote it.
func ParseKey(text string) (Key, error) {
	own, err := age.ParseX25519Identity(text)
	if err != nil {
		return Key{}, errors.New("parse a pool's key: it is cut off or mistyped")
	}
	return Key{own}, nil
}

// Reveal returns the key's secret text: AGE-SECRET-KEY-1...
func (k Key) Reveal() string {
	if k.own == nil {
		return ""
	}
	return k.own.String()
}

// Recipient is what secrets are sealed to: age1...
func (k Key) Recipient() string {
	if k.own == nil {
		return ""
	}
	return k.own.Recipient().String()
}

// ID names the key, and tells it from every other: it is the fingerprint of the
// recipient.
func (k Key) ID() string {
	if k.own == nil {
		return ""
	}
	return KeyID(k.Recipient())
}

// String names the key and hides the secret.
func (k Key) String() string { return k.ID() }

// GoString hides the secret.
func (k Key) GoString() string { return fmt.Sprintf("seal.Key(%s)", k.ID()) }

// Format hides the secret under every verb.
func (k Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.ID()) }

// MarshalText refuses: a key must not slip into JSON unnoticed.
func (k Key) MarshalText() ([]byte, error) {
	return nil, errors.New("encode a pool's key: secrets are not encoded; use Reveal where one is meant to leave the process")
}

func (k Key) identity() age.Identity { return k.own }

// keyIDBytes of a SHA-256 are too many for another recipient to be found with the
// same ones.
const keyIDBytes = 16

// KeyID is the fingerprint of a recipient: 32 hex digits.
func KeyID(recipient string) string {
	sum := sha256.Sum256([]byte(recipient))
	return hex.EncodeToString(sum[:keyIDBytes])
}

var validKeyID = regexp.MustCompile(`^[0-9a-f]{32}$`)

// CheckKeyID refuses what KeyID never returns.
func CheckKeyID(id string) error {
	if !validKeyID.MatchString(id) {
		return fmt.Errorf("key id %.40q: want the 32 hex digits that weir pool create printed", id)
	}
	return nil
}

// CheckRecipient refuses what nothing can be sealed to.
func CheckRecipient(text string) error {
	_, err := parseRecipient(text)
	return err
}

func parseRecipient(text string) (age.Recipient, error) {
	if len(text) > maxRecipient {
		return nil, errors.New("the recipient of a pool's secrets is too long for one: want age1 and 58 characters more")
	}
	to, err := age.ParseX25519Recipient(text)
	if err != nil {
		return nil, errors.New("the recipient of a pool's secrets is malformed: want age1..., of which the checksum is right")
	}
	return to, nil
}

const maxRecipient = 128
