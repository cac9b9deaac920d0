package redisstore

import (
	"encoding/binary"
	"math/bits"

	"github.com/ropeline/ropeline/admission"
)

// chunkNumbers is how many numbers share a key: 16 KiB of bits.
const (
	chunkNumbers = 1 << 17
	chunkBytes   = chunkNumbers / 8
	grainBytes   = admission.PieceNumbers / 8
)

// letters name the maps in the scripts, by admission.Map.
var letters = []string{admission.MapWaiting: "w", admission.MapOff: "o", admission.MapDone: "d"}

// Redis counts the bits of a byte from the highest; a Piece counts those of a
// word from the lowest. Reversing a word read from eight bytes turns the one
// into the other, both ways.

// piece returns a chunk as Redis keeps it as a piece, of whole grains.
func piece(kind admission.Map, chunk int64, text string) admission.Piece {
	p := admission.Piece{Map: kind, From: chunk * chunkNumbers}
	if text == "" {
		p.Bits = make([]uint64, chunkBytes/8)
		return p
	}
	whole := (len(text) + grainBytes - 1) / grainBytes * grainBytes
	padded := make([]byte, whole)
	copy(padded, text)
	p.Bits = make([]uint64, whole/8)
	for i := range p.Bits {
		p.Bits[i] = bits.Reverse64(binary.BigEndian.Uint64(padded[i*8:]))
	}
	return p
}

// bitRun is a run of bytes within a chunk.
type bitRun struct {
	kind   admission.Map
	chunk  int64
	offset int // in bytes
	bytes  []byte
}

// runs returns pieces as runs within chunks, one for each chunk and map they
// touch: the bytes between two pieces of a chunk are zero, which marks no one.
func runs(pieces []admission.Piece) []bitRun {
	type place struct {
		kind  admission.Map
		chunk int64
	}
	at := map[place]int{}
	var all []bitRun
	for _, p := range pieces {
		for i, word := range p.Bits {
			if word == 0 {
				continue
			}
			n := p.From + int64(i)*64
			where := place{p.Map, n / chunkNumbers}
			index, ok := at[where]
			if !ok {
				index = len(all)
				at[where] = index
				all = append(all, bitRun{kind: p.Map, chunk: where.chunk, bytes: make([]byte, chunkBytes)})
			}
			at := all[index].bytes[n%chunkNumbers/8:]
			binary.BigEndian.PutUint64(at, binary.BigEndian.Uint64(at)|bits.Reverse64(word)) // two pieces may share a word
		}
	}
	for i := range all {
		all[i].trim()
	}
	return all
}

// trim cuts the zero bytes off both ends of a run.
func (r *bitRun) trim() {
	end := len(r.bytes)
	for end > 1 && r.bytes[end-1] == 0 {
		end--
	}
	for r.offset < end-1 && r.bytes[r.offset] == 0 {
		r.offset++
	}
	r.bytes = r.bytes[r.offset:end]
}
