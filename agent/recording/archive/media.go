package archive

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/lenscast/lenscast/agent/durable"
	"github.com/lenscast/lenscast/agent/recording/fmp4"
)

// Media is a finished recording that is open for reading. While it is, the
// retention leaves it alone. The caller must call Close, once.
type Media struct {
	Info Info
	a    *Archive
	file durable.ReadOnly
}

// Media opens a finished recording. The error wraps ErrNotFound.
func (a *Archive) Media(id string) (*Media, error) {
	// First the mark, then the look: so it can't be deleted in between.
	a.hold(id, 1)
	i, err := a.Get(id)
	if err != nil {
		a.hold(id, -1)
		return nil, err
	}
	f, err := a.fs.Open(a.path(id, mediaSuffix))
	if errors.Is(err, fs.ErrNotExist) {
		a.missed(id)
		err = fmt.Errorf("recording %q: %w", id, ErrNotFound)
	}
	if err != nil {
		a.hold(id, -1)
		return nil, fmt.Errorf("open recording: %w", err)
	}
	return &Media{Info: i, a: a, file: f}, nil
}

func (a *Archive) hold(id string, n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.reading[id] += n; a.reading[id] <= 0 {
		delete(a.reading, id)
	}
}

// Close ends the reading.
func (m *Media) Close() error {
	m.a.hold(m.Info.ID, -1)
	return m.file.Close()
}

// File returns the file as it is on the disk.
func (m *Media) File() *io.SectionReader { return io.NewSectionReader(m.file, 0, m.Info.Size) }

// Player returns the recording with an index in front, for browsers to seek
// in; its bytes are always the same.
func (m *Media) Player() (*io.SectionReader, error) {
	keyframes, end, err := fmp4.ReadIndex(m.file, m.Info.Size)
	if err != nil {
		return nil, err
	}
	return fmp4.NewPlayer(m.file, keyframes, end, time.Duration(m.Info.Duration))
}

// Still returns the first picture as an MP4 of its own.
func (m *Media) Still() ([]byte, error) { return fmp4.Still(m.File()) }
