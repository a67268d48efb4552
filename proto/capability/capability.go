package capability

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"

	"github.com/weirbuild/weir/proto/mtls"
)

// Limits of a capability's text.
const (
	MaxLength    = 4096 // bytes
	MaxAddresses = 16
	MaxPins      = 16
)

// Params that have a meaning. They are hints for people and programs that hold
// the capability; the cluster goes by what it stored for the token.
const (
	ParamPool = "pool"
	ParamKind = "kind"
	// ParamSeal, POOL:KEYID, is the fingerprint of the key that a pool's secrets are
	// sealed to; there may be several, and several of one pool.
	ParamSeal = "seal"
	// ParamKey is a key of the pool, of a worker's capability: a secret. There may be
	// several, the one that is sealed to first.
	ParamKey = "key"

	paramCA = "ca"
)

// shown are the parameters that may appear in logs. Any other may be a secret
// of a later version.
var shown = []string{paramCA, ParamKind, ParamPool, ParamSeal}

// Capability is how to reach a cluster, how to know it again, and the right to
// act in it. It does not change once made.
type Capability struct {
	addrs []string
	pins  []mtls.Pin
	token Token
	more  *string // all parameters but ca, encoded; a pointer for the reason given at Token
}

// New makes a capability. Addresses are host:port, [IPv6]:port included.
func New(token Token, addrs []string, pins []mtls.Pin) (Capability, error) {
	c := Capability{addrs: slices.Clone(addrs), pins: slices.Clone(pins), token: token, more: new(string)}
	if err := c.check(); err != nil {
		return Capability{}, fmt.Errorf("make capability: %w", err)
	}
	return c, nil
}

// With returns a copy that also has the parameter.
func (c Capability) With(key, value string) (Capability, error) {
	if c.IsZero() || key == paramCA || key == "" {
		return Capability{}, fmt.Errorf("set parameter %q of capability: not possible", key)
	}
	params := c.params()
	params.Set(key, value)
	c.setParams(params)
	if err := c.check(); err != nil {
		return Capability{}, fmt.Errorf("set parameter %q of capability: %w", key, err)
	}
	return c, nil
}

// WithValues returns a copy that has the parameter so many times, in this order.
func (c Capability) WithValues(key string, values ...string) (Capability, error) {
	if c.IsZero() || key == paramCA || key == "" {
		return Capability{}, fmt.Errorf("set parameter %q of capability: not possible", key)
	}
	params := c.params()
	params[key] = slices.Clone(values)
	c.setParams(params)
	if err := c.check(); err != nil {
		return Capability{}, fmt.Errorf("set parameter %q of capability: %w", key, err)
	}
	return c, nil
}

// params returns a fresh copy of all parameters but ca.
func (c Capability) params() url.Values {
	if c.IsZero() {
		return url.Values{}
	}
	params, err := url.ParseQuery(*c.more)
	if err != nil {
		panic("capability: what Encode wrote cannot be read") // setParams is the only writer
	}
	return params
}

func (c *Capability) setParams(params url.Values) {
	c.more = new(params.Encode())
}

func (c Capability) check() error {
	switch {
	case c.token.IsZero():
		return errors.New("no token")
	case len(c.addrs) == 0 || len(c.addrs) > MaxAddresses:
		return fmt.Errorf("%d addresses, want 1 to %d", len(c.addrs), MaxAddresses)
	case len(c.pins) == 0 || len(c.pins) > MaxPins:
		return fmt.Errorf("%d CA pins (ca=sha256:...), want 1 to %d", len(c.pins), MaxPins)
	}
	for i, a := range c.addrs {
		if err := checkAddress(a); err != nil {
			return fmt.Errorf("address %d: %w", i+1, err)
		}
	}
	if n := len(c.Reveal()); n > MaxLength {
		return fmt.Errorf("%d bytes, at most %d are allowed", n, MaxLength)
	}
	return nil
}

// IsZero reports whether this is no capability at all.
func (c Capability) IsZero() bool { return c.token.IsZero() }

// Addrs returns the addresses to try, host:port.
func (c Capability) Addrs() []string { return slices.Clone(c.addrs) }

// Pins returns the pins of the authorities to trust.
func (c Capability) Pins() []mtls.Pin { return slices.Clone(c.pins) }

// Token returns the secret.
func (c Capability) Token() Token { return c.token }

// Param returns the first value of a parameter, or "".
func (c Capability) Param(key string) string { return c.params().Get(key) }

// Values returns all values of a parameter, in their order.
func (c Capability) Values(key string) []string { return c.params()[key] }

// Reveal returns the whole line with its secrets, as Parse reads it.
func (c Capability) Reveal() string {
	if c.IsZero() {
		return ""
	}
	return c.line(c.token.Reveal(), c.params())
}

// String returns the line without its secrets: the token and the value of every
// parameter that is not known to be harmless are replaced.
func (c Capability) String() string {
	if c.IsZero() {
		return ""
	}
	params := c.params()
	for key := range params {
		if !slices.Contains(shown, key) {
			params[key] = []string{"HIDDEN"}
		}
	}
	return c.line(hidden, params)
}

func (c Capability) line(token string, params url.Values) string {
	var b strings.Builder
	b.WriteString(scheme + token + "@" + strings.Join(c.addrs, ",") + "/")
	separator := "?"
	for _, pin := range c.pins {
		b.WriteString(separator + paramCA + "=" + pin.String())
		separator = "&"
	}
	if len(params) > 0 {
		b.WriteString("&" + params.Encode())
	}
	return b.String()
}

// GoString hides the secrets.
func (c Capability) GoString() string { return fmt.Sprintf("capability.Capability(%s)", c.String()) }

// Format hides the secrets under every verb.
func (c Capability) Format(f fmt.State, verb rune) { io.WriteString(f, c.String()) }

// MarshalText refuses: a capability must not slip into JSON unnoticed.
func (c Capability) MarshalText() ([]byte, error) {
	return nil, errors.New("encode capability: secrets are not encoded; use Reveal where one is meant to leave the process")
}
