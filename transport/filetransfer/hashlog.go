package filetransfer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// HashLog remembers the SHA-256 of a file that is being sent at steps of the
// way. A sender that has to go on from the middle takes the hash up from there
// instead of reading everything again. It is safe for use by several
// goroutines.
//
// On disk it is a sequence of records: a hash state as crypto/sha256 marshals
// it, whose last 8 bytes are the offset, and the CRC-32C of that.
type HashLog struct {
	mu     sync.Mutex
	file   *os.File // nil: in memory only
	states map[int64][]byte
}

// HashStep is the content in bytes between two records of a [HashLog]. A
// smaller file needs none.
const HashStep = 16 << 20

const (
	hashLogRecord = hashStateBytes + 4
	// maxHashLog bounds what is read from disk: the records of 1 TiB.
	maxHashLog = (1 << 40) / HashStep * hashLogRecord
)

// NewHashLog returns a log that lives in memory.
func NewHashLog() *HashLog { return &HashLog{states: make(map[int64][]byte)} }

// OpenHashLog returns the log kept in the file at path, made when it is not
// there. The path must be different for every [File.ID]. Damaged records are
// left out: they cost time, not correctness. The caller must call Close.
func OpenHashLog(path string) (*HashLog, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	l := NewHashLog()
	l.file = file
	raw, err := io.ReadAll(io.LimitReader(file, maxHashLog))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read %s: %w", path, err), file.Close())
	}
	whole := len(raw) / hashLogRecord * hashLogRecord
	for at := 0; at < whole; at += hashLogRecord {
		l.load(raw[at : at+hashLogRecord])
	}
	// A record cut short by a crash must not shift those after it.
	if err := file.Truncate(int64(whole)); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return l, nil
}

func (l *HashLog) load(record []byte) {
	state, sum := record[:hashStateBytes], binary.BigEndian.Uint32(record[hashStateBytes:])
	offset := int64(binary.BigEndian.Uint64(state[hashStateBytes-8:]))
	if sum == checksum(state) && offset > 0 && CheckHashState(offset, state) == nil {
		l.states[offset] = state
	}
}

// nearest returns the state of the highest offset up to limit; 0, nil when
// there is none.
func (l *HashLog) nearest(limit int64) (int64, []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	best := int64(0)
	for offset := range l.states {
		if offset <= limit && offset > best {
			best = offset
		}
	}
	return best, l.states[best]
}

// record remembers state after offset bytes.
func (l *HashLog) record(offset int64, state []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, known := l.states[offset]; known {
		return nil
	}
	l.states[offset] = state
	if l.file == nil {
		return nil
	}
	_, err := l.file.Write(binary.BigEndian.AppendUint32(state[:hashStateBytes:hashStateBytes], checksum(state)))
	return err
}

// Close closes the file of the log, if it has one.
func (l *HashLog) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	return l.file.Close()
}
