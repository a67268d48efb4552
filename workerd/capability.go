package workerd

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/weirbuild/weir/proto/capability"
)

// EnvCapability is the variable that a capability is taken from without --connect.
const EnvCapability = "WEIR_CAPABILITY"

// envConnect is --connect as a variable, which may hold a line too.
const envConnect = "WEIR_CONNECT"

// takeCapability reads a capability from where connect says. The environment is
// free of it afterwards in any case.
func takeCapability(connect string) (capability.Capability, error) {
	scrubbed := errors.Join(scrub(EnvCapability), scrub(envConnect))
	if err := os.Unsetenv(envConnect); err != nil {
		return capability.Capability{}, fmt.Errorf("remove %s from the environment: %w", envConnect, err)
	}
	fromEnv, ok, err := capability.FromEnv(EnvCapability)
	if connect != "" {
		return capability.From(connect)
	}
	switch {
	case err != nil:
		return capability.Capability{}, err
	case ok && scrubbed != nil:
		return capability.Capability{}, fmt.Errorf("hide $%s, use --connect FILE instead: %w", EnvCapability, scrubbed)
	default:
		return fromEnv, nil
	}
}

// capabilityFile is the name of the file that connect says, made absolute; empty: it
// is a line, or nothing.
func capabilityFile(connect string) (string, error) {
	connect = strings.TrimSpace(connect)
	if connect == "" || strings.Contains(connect, "://") {
		return "", nil
	}
	return filepath.Abs(strings.TrimPrefix(connect, "@"))
}

// scrub overwrites the value of a variable in the block of memory that the
// process was started with: /proc/PID/environ shows that block for as long as the
// process lives, whatever os.Unsetenv does.
func scrub(name string) error {
	if _, ok := os.LookupEnv(name); !ok {
		return nil
	}
	from, to, err := environment()
	if err != nil {
		return err
	}
	mem, err := os.OpenFile("/proc/self/mem", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer mem.Close() // what was written is written
	block := make([]byte, to-from)
	if _, err := mem.ReadAt(block, from); err != nil {
		return fmt.Errorf("read own environment: %w", err)
	}
	for at := 0; at < len(block); {
		size := bytes.IndexByte(block[at:], 0)
		if size < 0 {
			size = len(block) - at
		}
		if value, ok := bytes.CutPrefix(block[at:at+size], []byte(name+"=")); ok {
			if _, err := mem.WriteAt(make([]byte, len(value)), from+int64(at+size-len(value))); err != nil {
				return fmt.Errorf("overwrite own environment: %w", err)
			}
		}
		at += size + 1
	}
	return nil
}

// environment finds that block: fields 50 and 51 of /proc/self/stat.
func environment() (from, to int64, err error) {
	b, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return 0, 0, err
	}
	// The second field is a name in brackets, which may hold anything; the third
	// begins after the last bracket.
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	const third, envStart, envEnd = 3, 50, 51
	if len(fields) <= envEnd-third {
		return 0, 0, errors.New("read /proc/self/stat: too few fields")
	}
	from, err1 := strconv.ParseInt(fields[envStart-third], 10, 64)
	to, err2 := strconv.ParseInt(fields[envEnd-third], 10, 64)
	if err := errors.Join(err1, err2); err != nil || to < from {
		return 0, 0, fmt.Errorf("read /proc/self/stat: no environment: %w", err)
	}
	return from, to, nil
}
