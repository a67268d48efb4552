package health

import (
	"bytes"
	"encoding/binary"
	"runtime"
)

// code ends a process with success: exit_group(0), by architecture.
var code = map[string]struct {
	machine uint16
	text    []byte
}{
	"amd64": {62, []byte{0xb8, 0xe7, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05}},              // mov eax, 231; xor edi, edi; syscall
	"arm64": {183, []byte{0xc8, 0x0b, 0x80, 0xd2, 0, 0, 0x80, 0xd2, 1, 0, 0, 0xd4}}, // mov x8, 94; mov x0, 0; svc 0
}

// Program is a program for Linux that ends at once, with success, and needs no other
// file: what a container without an image can run. ok is false where none is known
// for this machine.
func Program() (text []byte, ok bool) {
	c, ok := code[runtime.GOARCH]
	if !ok {
		return nil, false
	}
	const base, header, segment = 0x400000, 64, 56
	size := uint64(header + segment + len(c.text))
	var b bytes.Buffer
	b.WriteString("\x7fELF\x02\x01\x01")
	b.Write(make([]byte, 9))
	for _, field := range []any{
		uint16(2), c.machine, uint32(1), uint64(base + header + segment), uint64(header), uint64(0), // an executable, where it starts
		uint32(0), uint16(header), uint16(segment), uint16(1), uint16(0), uint16(0), uint16(0),
		uint32(1), uint32(5), uint64(0), uint64(base), uint64(base), size, size, uint64(0x1000), // all of it is loaded, to be read and run
	} {
		_ = binary.Write(&b, binary.LittleEndian, field) // a buffer takes everything
	}
	b.Write(c.text)
	return b.Bytes(), true
}
