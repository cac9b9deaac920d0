package waitpage

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"hash/crc32"
)

// packed is a part that every page has, byte for byte, compressed once for all:
// style and script are four fifths of a page, and a crowd comes at once.
type packed struct {
	plain    []byte
	deflated []byte // whole blocks that refer to nothing before them, and are not the last
}

func pack(plain []byte) packed {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		panic(err) // there is such a level
	}
	w.Write(plain) // into memory, which takes all
	w.Flush()
	return packed{bytes.Clone(plain), b.Bytes()}
}

// newPacker returns a writer for compress.
func newPacker() any {
	w, err := flate.NewWriter(nil, flate.BestSpeed)
	if err != nil {
		panic(err) // there is such a level
	}
	return w
}

// gzipHeader says: deflated, no name, no time, unknown system (RFC 1952).
var gzipHeader = []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255}

// compress writes body to b as gzip does, with w. The parts stand in body in
// their order; one that does not is compressed with the rest.
func compress(b *bytes.Buffer, w *flate.Writer, body []byte, parts []packed) {
	b.Write(gzipHeader)
	w.Reset(b)
	rest := body
	for _, part := range parts {
		at := bytes.Index(rest, part.plain)
		if at < 0 {
			continue
		}
		w.Write(rest[:at])
		w.Flush() // to a whole byte
		b.Write(part.deflated)
		w.Reset(b) // what follows refers to nothing before the part
		rest = rest[at+len(part.plain):]
	}
	w.Write(rest)
	w.Close()
	trailer := binary.LittleEndian.AppendUint32(b.AvailableBuffer(), crc32.ChecksumIEEE(body))
	b.Write(binary.LittleEndian.AppendUint32(trailer, uint32(len(body))))
}
