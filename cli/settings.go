package cli

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"gopkg.in/yaml.v3"
)

// addConfigFlag gives a daemon the flag of its configuration file.
func addConfigFlag(fs *pflag.FlagSet) {
	fs.String(configFlag, "", "YAML file with flags as keys")
}

const configFlag = "config"

// loadSettings fills in what the command line did not set: from the
// environment, where --data-dir is WEIR_DATA_DIR, and then from the file of
// --config, with the flags' names as keys. It must be called after the flags
// were parsed. A key that is no flag is an error.
func loadSettings(fs *pflag.FlagSet, environ []string) error {
	if err := loadEnvironment(fs, environ); err != nil {
		return err
	}
	file := fs.Lookup(configFlag).Value.String()
	if file == "" {
		return nil
	}
	return loadFile(fs, file)
}

const envPrefix = "WEIR_"

func loadEnvironment(fs *pflag.FlagSet, environ []string) (err error) {
	values := map[string]string{}
	for _, line := range environ {
		if name, value, ok := strings.Cut(line, "="); ok && strings.HasPrefix(name, envPrefix) {
			values[name] = value
		}
	}
	var errs []error
	fs.VisitAll(func(f *pflag.Flag) {
		name := envPrefix + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		if value, ok := values[name]; ok && !f.Changed {
			if err := fs.Set(f.Name, value); err != nil {
				errs = append(errs, fmt.Errorf("environment variable %s: %w", name, err))
			}
		}
	})
	return errors.Join(errs...)
}

// flagNames lists the flags, for messages.
func flagNames(fs *pflag.FlagSet) string {
	var names []string
	fs.VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	slices.Sort(names)
	return strings.Join(names, ", ")
}

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
