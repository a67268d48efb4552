package capability

import (
	"fmt"
	"os"
	"strings"

	"github.com/weirbuild/weir/proto/mtls"
)

// Save writes the capability to a file that only its owner may read, in place
// of an older one.
func (c Capability) Save(path string) error {
	if err := mtls.WriteSecret(path, []byte(c.Reveal()+"\n")); err != nil {
		return fmt.Errorf("save capability: %w", err)
	}
	return nil
}

// Load reads a file that Save wrote. It refuses one that other users of the
// machine may read.
func Load(path string) (Capability, error) {
	data, err := mtls.ReadSecret(path)
	if err != nil {
		return Capability{}, fmt.Errorf("load capability: %w", err)
	}
	c, err := Parse(strings.TrimSpace(string(data)))
	if err != nil {
		return Capability{}, fmt.Errorf("load %s: %w", path, err)
	}
	return c, nil
}

// From reads a capability from where text says: the line itself, or the name of
// a file that Save wrote, which may have an @ before it. Its errors never repeat
// a line.
func From(text string) (Capability, error) {
	text = strings.TrimSpace(text)
	if strings.HasPrefix(text, scheme) {
		return Parse(text)
	}
	if strings.Contains(text, scheme) || strings.Contains(text, TokenPrefix) {
		return Capability{}, fmt.Errorf("neither a capability, which begins with %s, nor the name of a file that holds one", scheme)
	}
	return Load(strings.TrimPrefix(text, "@"))
}

// FromEnv takes a capability out of the environment: the variable is gone
// afterwards, so that processes started later do not inherit it. It returns
// false when the variable is unset or empty.
func FromEnv(name string) (Capability, bool, error) {
	text := strings.TrimSpace(os.Getenv(name))
	if err := os.Unsetenv(name); err != nil {
		return Capability{}, false, fmt.Errorf("remove %s from the environment: %w", name, err)
	}
	if text == "" {
		return Capability{}, false, nil
	}
	c, err := From(text)
	if err != nil {
		return Capability{}, true, fmt.Errorf("read %s: %w", name, err)
	}
	return c, true, nil
}
