package scheduler

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
	"gopkg.in/yaml.v3"
)

// loadFile sets the flags that are not set yet from a YAML file. Everything is
// checked, so that one look at the errors is enough.
func loadFile(fs *pflag.FlagSet, file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	var root yaml.Node
	if err := yaml.Unmarshal(data, &root); err != nil {
		return fmt.Errorf("read configuration %s: %w", file, err)
	}
	if len(root.Content) == 0 {
		return nil
	}
	top := root.Content[0]
	if top.Kind != yaml.MappingNode {
		return fmt.Errorf("read configuration %s: it is not a list of \"flag: value\" lines", file)
	}
	var errs []error
	seen := map[string]bool{}
	for i := 0; i+1 < len(top.Content); i += 2 {
		key, value := top.Content[i], top.Content[i+1]
		if seen[key.Value] {
			errs = append(errs, fmt.Errorf("%s:%d: %q is set twice", file, key.Line, key.Value))
			continue
		}
		seen[key.Value] = true
		if err := setFromFile(fs, key.Value, value); err != nil {
			errs = append(errs, fmt.Errorf("%s:%d: %w", file, key.Line, err))
		}
	}
	return errors.Join(errs...)
}

func setFromFile(fs *pflag.FlagSet, name string, value *yaml.Node) error {
	f := fs.Lookup(name)
	if f == nil {
		return fmt.Errorf("unknown key %q: the keys are the flags' names (%s)", name, flagNames(fs))
	}
	if f.Changed {
		return nil
	}
	var values []string
	switch value.Kind {
	case yaml.ScalarNode:
		values = []string{value.Value}
	case yaml.SequenceNode:
		for _, item := range value.Content {
			values = append(values, item.Value)
		}
	default:
		return fmt.Errorf("key %q wants a value or a list of values", name)
	}
	for _, text := range values { // a list's flag appends from the second on
		if err := fs.Set(name, text); err != nil {
			return fmt.Errorf("key %q: %w", name, err)
		}
	}
	return nil
}

// Size is a number of bytes, written as in 500MiB.
type Size int64

var units = []struct {
	suffix string
	bytes  int64
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}, {"", 1}}

// String uses the largest unit that gives a whole number.
func (s Size) String() string {
	for _, u := range units {
		if s != 0 && int64(s)%u.bytes == 0 {
			return strconv.FormatInt(int64(s)/u.bytes, 10) + u.suffix
		}
	}
	return "0B"
}

// Set reads what String writes; a number alone is bytes.
func (s *Size) Set(text string) error {
	for _, u := range units {
		digits, ok := strings.CutSuffix(text, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
		if err != nil || n < 0 || n > (1<<62)/u.bytes {
			break
		}
		*s = Size(n * u.bytes)
		return nil
	}
	return fmt.Errorf("%q is not a size such as 500MiB or 20GiB", text)
}

// Type names the value in help.
func (s *Size) Type() string { return "size" }
