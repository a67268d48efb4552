package raftnode

import (
	"encoding/binary"
	"fmt"
)

// A log entry is one byte of version, then frames: the length of a command as
// an unsigned varint, then the command.
const entryVersion = 1

// maxEntry is where an entry is closed: the command that crosses it goes into
// the next one.
const maxEntry = 256 << 10

// frameSize is how many bytes the command takes in an entry.
func frameSize(command []byte) int {
	n := uint64(len(command))
	size := 1
	for ; n >= 0x80; n >>= 7 {
		size++
	}
	return size + len(command)
}

func encodeEntry(b batch) []byte {
	entry := make([]byte, 1, 1+b.size)
	entry[0] = entryVersion
	for i := range b.commands {
		entry = binary.AppendUvarint(entry, uint64(len(b.commands[i].command)))
		entry = append(entry, b.commands[i].command...)
	}
	return entry
}

// decodeEntry appends the commands of an entry, which point into it, to commands.
func decodeEntry(entry []byte, commands [][]byte) ([][]byte, error) {
	if len(entry) == 0 {
		return commands, nil
	}
	if entry[0] != entryVersion {
		return nil, fmt.Errorf("log entry of version %d, this program knows version %d: upgrade this node", entry[0], entryVersion)
	}
	for rest := entry[1:]; len(rest) > 0; {
		n, k := binary.Uvarint(rest)
		if k <= 0 || n > uint64(len(rest)-k) {
			return nil, fmt.Errorf("log entry is cut off %d bytes before its end", len(rest))
		}
		commands = append(commands, rest[k:k+int(n):k+int(n)])
		rest = rest[k+int(n):]
	}
	return commands, nil
}
