package capability

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
)

const (
	// TokenPrefix begins every token, so that scanners for leaked secrets find it.
	TokenPrefix = "wt1_"

	secretBytes = 32 // 256 bits of randomness
	hidden      = TokenPrefix + "HIDDEN"
)

var tokenEncoding = base64.RawURLEncoding.Strict()

// Token is the secret of a capability. The zero Token is none.
type Token struct {
	secret *string // fmt, which reaches into unexported fields, follows no pointer to a string
}

// NewToken makes a token from 256 random bits.
func NewToken() Token {
	raw := make([]byte, secretBytes)
	rand.Read(raw) // never fails
	text := TokenPrefix + tokenEncoding.EncodeToString(raw)
	return Token{&text}
}

// ParseToken reads what Reveal returned.
func ParseToken(text string) (Token, error) {
	body, ok := strings.CutPrefix(text, TokenPrefix)
	if !ok {
		return Token{}, fmt.Errorf("parse token: it does not begin with %s", TokenPrefix)
	}
	raw, err := tokenEncoding.DecodeString(body)
	if err != nil || len(raw) != secretBytes || strings.ContainsAny(body, "\r\n") {
		return Token{}, errors.New("parse token: it is cut off or mistyped")
	}
	text = strings.Clone(text) // keep no larger text alive
	return Token{&text}, nil
}

// Reveal returns the secret text. Give it to the cluster, never to a log.
func (t Token) Reveal() string {
	if t.secret == nil {
		return ""
	}
	return *t.secret
}

// IsZero reports whether there is no token.
func (t Token) IsZero() bool { return t.secret == nil }

// Equal compares two tokens in constant time.
func (t Token) Equal(o Token) bool {
	return subtle.ConstantTimeCompare([]byte(t.Reveal()), []byte(o.Reveal())) == 1
}

// Hash returns what the cluster stores of the token.
func (t Token) Hash() string { return HashToken(t.Reveal()) }

// HashToken returns the SHA-256 of a token's text in lower-case hex. A token is
// random enough that the hash needs neither salt nor stretching.
func HashToken(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// String hides the secret.
func (t Token) String() string {
	if t.secret == nil {
		return ""
	}
	return hidden
}

// GoString hides the secret.
func (t Token) GoString() string { return fmt.Sprintf("capability.Token(%s)", t.String()) }

// Format hides the secret under every verb.
func (t Token) Format(f fmt.State, verb rune) { io.WriteString(f, t.String()) }

// MarshalText refuses: a token must not slip into JSON unnoticed.
func (t Token) MarshalText() ([]byte, error) {
	return nil, errors.New("encode token: secrets are not encoded; use Reveal where one is meant to leave the process")
}
