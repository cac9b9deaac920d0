package postgres

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// errSpoolFull means that the spool has no room left.
var errSpoolFull = errors.New("the spool is full")

const (
	segmentSuffix = ".spool"
	segmentSize   = 4 << 20 // a segment is freed when all of it was read

	// A frame is one batch: its length, how many records it holds, and the
	// CRC-32C of those and of the batch, each as 4 bytes big endian, then the
	// batch as JSON.
	frameHead = 12

	// slots bounds the spools below one directory: as many gateways may share it.
	slots = 256
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// spool is a queue of batches in files, which outlives the process. A process
// has a directory of its own below the one that is configured, by a lock that
// ends with it; what processes left there that are gone, it takes over.
//
// What a kill cuts off within a frame is the end of its segment: an old segment
// is never appended to.
type spool struct {
	root, dir string
	max       int64
	held      *os.File      // the lock
	filled    chan struct{} // has a token after an append

	mu       sync.Mutex
	segments []segment // oldest first
	out      *os.File  // the last segment, while it is appended to
	read     int64     // how much of the first segment is done with
	next     uint64    // the name of the next segment
}

type segment struct {
	path    string
	size    int64 // of its whole frames
	records int64 // in those that are not done with
}

// mark is how far the first segment was read by a peek.
type mark struct {
	path    string
	until   int64
	records int64
}

// openSpool opens the first free spool below root.
func openSpool(root string, limit int64) (*spool, error) {
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, err
	}
	s := &spool{root: root, max: limit, filled: make(chan struct{}, 1)}
	for slot := 1; s.held == nil; slot++ {
		if slot > slots {
			return nil, fmt.Errorf("%s: %d processes have a spool here", root, slots)
		}
		dir := filepath.Join(root, strconv.Itoa(slot))
		held, err := hold(dir)
		if err != nil {
			return nil, err
		}
		s.dir, s.held = dir, held
	}
	found, err := segmentsIn(s.dir)
	if err != nil {
		return nil, errors.Join(err, s.held.Close())
	}
	s.add(found)
	s.adopt(func(int64) {})
	return s, nil
}

// hold makes the directory of a spool and takes its lock; nil where another
// process has it.
func hold(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if lockFile(file) != nil {
		return nil, file.Close()
	}
	return file, nil
}

// segmentsIn reads how much the segments of a directory hold, oldest first.
func segmentsIn(dir string) ([]segment, error) {
	names, err := filepath.Glob(filepath.Join(escapeGlob(dir), "*"+segmentSuffix))
	if err != nil {
		return nil, err
	}
	slices.Sort(names) // numbers of one width
	var found []segment
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		s := segment{path: name}
		for {
			_, n, size := frame(text[s.size:])
			if size == 0 {
				break
			}
			s.size += size
			s.records += n
		}
		found = append(found, s)
	}
	return found, nil
}

func escapeGlob(dir string) string {
	return strings.NewReplacer(`*`, `\*`, `?`, `\?`, `[`, `\[`, `\`, `\\`).Replace(dir)
}

// frame reads the first frame of text; size 0: there is no whole one.
func frame(text []byte) (batch []byte, records, size int64) {
	if len(text) < frameHead {
		return nil, 0, 0
	}
	end := int64(binary.BigEndian.Uint32(text)) + frameHead
	if end > int64(len(text)) {
		return nil, 0, 0
	}
	sum := crc32.Update(crc32.Checksum(text[:8], castagnoli), castagnoli, text[frameHead:end])
	if sum != binary.BigEndian.Uint32(text[8:]) {
		return nil, 0, 0
	}
	return text[frameHead:end], int64(binary.BigEndian.Uint32(text[4:])), end
}

// framed returns a batch as a frame.
func framed(batch []byte, records int) []byte {
	text := make([]byte, frameHead, frameHead+len(batch))
	binary.BigEndian.PutUint32(text, uint32(len(batch)))
	binary.BigEndian.PutUint32(text[4:], uint32(records))
	sum := crc32.Update(crc32.Checksum(text[:8], castagnoli), castagnoli, batch)
	binary.BigEndian.PutUint32(text[8:], sum)
	return append(text, batch...)
}

// add puts segments at the end and returns how many records they hold. Empty
// ones are removed.
func (s *spool) add(found []segment) (records int64) {
	for _, one := range found {
		if number, err := strconv.ParseUint(strings.TrimSuffix(filepath.Base(one.path), segmentSuffix), 10, 64); err == nil {
			s.next = max(s.next, number+1)
		}
		if one.size == 0 {
			os.Remove(one.path)
			continue
		}
		s.segments = append(s.segments, one)
		records += one.records
	}
	return records
}

// adopt takes over the segments of processes that are gone, and tells how many
// records those hold before anyone can peek at them. What it cannot take stays
// for another time.
func (s *spool) adopt(tell func(records int64)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	dirs, _ := filepath.Glob(filepath.Join(escapeGlob(s.root), "*"))
	for _, dir := range dirs {
		if names, _ := filepath.Glob(filepath.Join(escapeGlob(dir), "*"+segmentSuffix)); dir == s.dir || len(names) == 0 {
			continue
		}
		left, err := hold(dir)
		if err != nil || left == nil {
			continue
		}
		found, _ := segmentsIn(dir)
		for _, one := range found {
			s.closeOut()
			path := s.name()
			if os.Rename(one.path, path) == nil {
				one.path = path
				tell(s.add([]segment{one}))
				s.wake()
			}
		}
		left.Close()
	}
}

// name returns where the next segment goes.
func (s *spool) name() string {
	path := filepath.Join(s.dir, fmt.Sprintf("%020d%s", s.next, segmentSuffix))
	s.next++
	return path
}

func (s *spool) wake() {
	select {
	case s.filled <- struct{}{}:
	default:
	}
}

// append puts a batch at the end. An error leaves the spool as it was.
func (s *spool) append(records []record) error {
	batch, err := encode(records)
	if err != nil {
		return err
	}
	text := framed(batch, len(records))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.size()+int64(len(text)) > s.max {
		return errSpoolFull
	}
	if s.out != nil && s.segments[len(s.segments)-1].size >= segmentSize {
		s.closeOut()
	}
	if s.out == nil {
		path := s.name()
		if s.out, err = os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600); err != nil {
			s.out = nil
			return err
		}
		s.segments = append(s.segments, segment{path: path})
	}
	last := &s.segments[len(s.segments)-1]
	if _, err := s.out.WriteAt(text, last.size); err != nil {
		return err // what was written of it is no frame, and the next one overwrites it
	}
	last.size += int64(len(text))
	last.records += int64(len(records))
	s.wake()
	return nil
}

func (s *spool) size() (size int64) {
	for _, one := range s.segments {
		size += one.size
	}
	return size
}

// closeOut ends the segment that is appended to.
func (s *spool) closeOut() {
	if s.out != nil {
		s.out.Close()
		s.out = nil
	}
}

// peek returns the oldest batches, together about most records, and the mark
// to advance to when they are kept elsewhere; no records and no error: the
// spool is empty. What cannot be read is lost, and the mark passes it.
func (s *spool) peek(most int) (records []record, m mark, lost int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.segments) == 0 {
		return nil, mark{}, 0, nil
	}
	first := s.segments[0]
	m = mark{path: first.path, until: s.read}
	file, err := os.Open(first.path)
	switch {
	case errors.Is(err, fs.ErrNotExist): // someone removed it
		m.until, m.records = first.size, first.records
		return nil, m, first.records, nil
	case err != nil:
		return nil, mark{}, 0, err
	}
	defer file.Close()
	for m.until < first.size && len(records) < most {
		batch, n, size := frameAt(file, m.until, first.size)
		if size == 0 { // spoilt on the disk: the rest cannot be told apart
			lost += first.records - m.records
			m.until, m.records = first.size, first.records
			break
		}
		m.until += size
		m.records += n
		found, err := decode(batch)
		if err != nil { // of another version
			lost += n
			continue
		}
		records = append(records, found...)
	}
	return records, m, lost, nil
}

// frameAt reads the frame at an offset of a segment that ends at end; size 0:
// there is no whole one.
func frameAt(file *os.File, offset, end int64) (batch []byte, records, size int64) {
	var head [frameHead]byte
	if _, err := file.ReadAt(head[:], offset); err != nil {
		return nil, 0, 0
	}
	length := int64(binary.BigEndian.Uint32(head[:])) + frameHead
	if offset+length > end {
		return nil, 0, 0
	}
	text := make([]byte, length)
	if _, err := file.ReadAt(text, offset); err != nil {
		return nil, 0, 0
	}
	return frame(text)
}

// advance is done with what a peek returned.
func (s *spool) advance(m mark) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.segments) == 0 || s.segments[0].path != m.path {
		return
	}
	first := &s.segments[0]
	s.read = m.until
	first.records -= m.records
	if s.read < first.size {
		return
	}
	if len(s.segments) == 1 {
		s.closeOut()
	}
	os.Remove(first.path) // one that stays is written again after a restart, to no effect
	s.segments, s.read = s.segments[1:], 0
}

// records returns how many records wait.
func (s *spool) records() (n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.segments {
		n += one.records
	}
	return n
}

// close frees the directory for another process.
func (s *spool) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closeOut()
	return s.held.Close()
}
