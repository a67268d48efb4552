package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/weirbuild/weir/workerd/obuilder/sexp"
	"github.com/weirbuild/weir/workerd/obuilder/spec"
)

func newOBuilder(e *env) *cobra.Command {
	c := &cobra.Command{
		Use:   "obuilder",
		Short: "Work on OBuilder specs, with no cluster",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newOBuilderCheck(e), newOBuilderFmt(e), newOBuilderDockerfile(e), newOBuilderBuild(e))
	return c
}

func newOBuilderCheck(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "check FILE...",
		Short: "Check specs; - is standard input",
		Long:  "Check specs; - is standard input. It prints nothing and exits with 0 when all are right, else with 2.",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, files []string) error {
			var all error
			for _, file := range files {
				_, _, err := e.readSpec(file)
				all = errors.Join(all, err)
			}
			if all != nil {
				return &codedError{exitUsage, all}
			}
			return nil
		},
	}
}

func newOBuilderFmt(e *env) *cobra.Command {
	var write bool
	c := &cobra.Command{
		Use:   "fmt FILE",
		Short: "Print a spec in its canonical form",
		Long:  "Print a spec in its canonical form, comments included; - is standard input.",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			text, _, err := e.readSpec(args[0])
			if err != nil {
				return err
			}
			formatted, err := spec.Format(text)
			if err != nil {
				return err
			}
			if !write {
				_, err = io.WriteString(e.stdout, formatted)
				return err
			}
			if args[0] == "-" {
				return usageError("--write needs a file: standard input cannot be written back")
			}
			if formatted == text {
				return nil
			}
			return replaceFile(args[0], formatted)
		},
	}
	c.Flags().BoolVarP(&write, "write", "w", false, "write the result to the file instead")
	return c
}

func newOBuilderDockerfile(e *env) *cobra.Command {
	var buildKit bool
	c := &cobra.Command{
		Use:   "dockerfile FILE",
		Short: "Translate a spec to a Dockerfile",
		Long: "Translate a spec to a Dockerfile; - is standard input. What a Dockerfile cannot say is left out: what a copy\n" +
			"excludes (write a .dockerignore) and networks; caches and secrets need --buildkit. Where no (shell ...) comes\n" +
			"before a command, OBuilder runs it with bash and Docker with the image's own shell.",
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			_, s, err := e.readSpec(args[0])
			if err != nil {
				return err
			}
			text, err := s.Dockerfile(buildKit)
			if err != nil {
				return specError(args[0], err)
			}
			_, err = io.WriteString(e.stdout, text)
			return err
		},
	}
	c.Flags().BoolVar(&buildKit, "buildkit", false, "use BuildKit's syntax for caches and secrets")
	return c
}

// readSpec reads and checks a spec. Its errors begin with FILE:LINE:COLUMN.
func (e *env) readSpec(file string) (string, *spec.Spec, error) {
	in := e.stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return "", nil, usageError("read the spec: %w", err)
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, sexp.MaxBytes+1))
	if err != nil {
		return "", nil, usageError("read the spec: %w", err)
	}
	s, err := spec.Parse(string(text))
	if err != nil {
		return "", nil, specError(file, err)
	}
	return string(text), s, nil
}

// specError says where in a file an error is, as compilers do.
func specError(file string, err error) error {
	var fault *sexp.Error
	if !errors.As(err, &fault) {
		return err
	}
	if file == "-" {
		file = "standard input"
	}
	return usageError("%s:%d:%d: %s", file, fault.Pos.Line, fault.Pos.Column, fault.Text)
}

// replaceFile writes a file anew, or leaves it as it was.
func replaceFile(file, text string) (err error) {
	file, err = filepath.EvalSymlinks(file)
	if err != nil {
		return fmt.Errorf("write the spec: %w", err)
	}
	info, err := os.Stat(file)
	if err != nil {
		return fmt.Errorf("write the spec: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".*")
	if err != nil {
		return fmt.Errorf("write the spec: %w", err)
	}
	_, err = f.WriteString(text)
	err = errors.Join(err, f.Chmod(info.Mode().Perm()), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write the spec: %w", err), os.Remove(f.Name()))
	}
	return nil
}
