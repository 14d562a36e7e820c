package siptransport

import (
	"bytes"
	"sync"

	"onhook/internal/sip"
)

// Buffers are held only while bytes of an unfinished message are in them. Most
// messages fit the small size; the large one holds the largest message and a
// WebSocket frame header.
const (
	smallBuffer = 4 << 10
	largeBuffer = sip.MaxMessage + 64
)

var (
	smallBuffers = sync.Pool{New: func() any { return new([smallBuffer]byte) }}
	largeBuffers = sync.Pool{New: func() any { return new([largeBuffer]byte) }}
)

func getBuffer() []byte      { return smallBuffers.Get().(*[smallBuffer]byte)[:0] }
func getLargeBuffer() []byte { return largeBuffers.Get().(*[largeBuffer]byte)[:0] }

// putBuffer gives back a buffer, which must begin where it began.
func putBuffer(b []byte) {
	switch cap(b) {
	case smallBuffer:
		smallBuffers.Put((*[smallBuffer]byte)(b[:smallBuffer]))
	case largeBuffer:
		largeBuffers.Put((*[largeBuffer]byte)(b[:largeBuffer]))
	}
}

// scratch is what handling a piece of a stream needs.
type scratch struct {
	msg    sip.Message
	reader bytes.Reader
	head   [16]byte
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// frames are buffers in which outgoing WebSocket frames are put together.
var frames = sync.Pool{New: func() any { return new(bytes.Buffer) }}
