package cli

import (
	"bytes"
	"encoding/json"
	"fmt"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// linePrinter renders messages one at a time, as they come: for people as line
// says, for programs as an object on a line of its own.
func linePrinter[M proto.Message](e *env, line func(M) string) (func(M) error, error) {
	switch e.output {
	case "", "text":
		return func(m M) error {
			_, err := fmt.Fprintln(e.stdout, line(m))
			return err
		}, nil
	case "json":
		return func(m M) error {
			raw, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
			if err != nil {
				return fmt.Errorf("render answer: %w", err)
			}
			var tidy bytes.Buffer // protojson varies its spaces on purpose
			if err := json.Compact(&tidy, raw); err != nil {
				return fmt.Errorf("render answer: %w", err)
			}
			_, err = fmt.Fprintf(e.stdout, "%s\n", &tidy)
			return err
		}, nil
	}
	return nil, usageError("unknown output %q: use text or json", e.output)
}
