package archive

import (
	"crypto/sha256"
	"encoding"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/lenscast/lenscast/agent/recording/fmp4"
	"github.com/lenscast/lenscast/capture/h264"
)

// leftover is a recording that was not finished.
type leftover struct {
	path string
	info Info // as it was known at the start, with its ID
	// limit is how many bytes are known to be durable, or unknown after a
	// restart: then the checksums tell.
	limit int64
}

const unknown = -1

// loadStart reads what was known when the recording in the file part began.
func (a *Archive) loadStart(part string) Info {
	i, err := a.readNote(part)
	if err == nil && i.Sequence > 0 && checkCamera(i.Camera) == nil {
		return i
	}
	// Without it, the name of the file still tells a little.
	i = Info{Camera: filepath.Base(filepath.Dir(part))}
	if checkCamera(i.Camera) != nil {
		i.Camera = "camera"
	}
	i.Sequence, _ = strconv.ParseUint(strings.TrimSuffix(filepath.Base(part), mediaSuffix+partSuffix), 10, 63)
	i.Start.Wall = a.clock.Read().Wall
	return i
}

// readNote reads what the Writer noted in the header.
func (a *Archive) readNote(part string) (i Info, err error) {
	f, err := a.fs.Open(part)
	if err != nil {
		return i, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return i, err
	}
	rd, err := fmp4.NewReader(io.NewSectionReader(f, 0, size))
	if err != nil {
		return i, err
	}
	return i, json.Unmarshal(rd.Note(), &i)
}

// leave hands a recording that was not finished to Run.
func (a *Archive) leave(l leftover) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.running, l.info.Sequence)
	a.leftovers = append(a.leftovers, l)
	a.wake()
}

// repair finishes what was left over. What can't be finished now stays, and
// the first error is returned.
func (a *Archive) repair(stop func() bool) error {
	a.mu.Lock()
	todo := a.leftovers
	a.leftovers, a.repairing = nil, len(todo)
	a.mu.Unlock()
	var first error
	for _, l := range todo {
		err := errStopped
		if !stop() {
			err = a.repairOne(l)
		}
		if first == nil {
			first = err
		}
		a.mu.Lock()
		a.repairing--
		if err != nil {
			a.leftovers = append(a.leftovers, l)
		}
		a.mu.Unlock()
	}
	if errors.Is(first, errStopped) {
		return nil
	}
	return first
}

var errStopped = errors.New("stopped")

// repairOne cuts a file after the last part that is whole, and finishes it.
// It may be repeated after it was interrupted anywhere.
func (a *Archive) repairOne(l leftover) error {
	f, err := a.fs.Reopen(l.path)
	if errors.Is(err, fs.ErrNotExist) {
		return a.adopt(l)
	} else if err != nil {
		return fmt.Errorf("repair recording: %w", err)
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return fmt.Errorf("repair recording: %w", err)
	}
	if l.limit != unknown {
		size = min(size, l.limit)
	}
	s, err := scan(io.NewSectionReader(f, 0, size))
	if err != nil {
		return fmt.Errorf("repair recording %s: %w", l.path, err)
	}
	if s.pictures == 0 {
		a.log.Info("a recording was cut off before its first part was on the disk", "file", l.path)
		return a.discard(l)
	}

	index := fmp4.AppendIndex(nil, s.keyframes)
	n, err := f.WriteAt(index, s.size)
	if err == nil && n != len(index) {
		err = io.ErrShortWrite
	}
	if err == nil {
		err = f.Truncate(s.size + int64(len(index)))
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		return fmt.Errorf("repair recording: %w", err)
	}
	s.hash.Write(index)
	i := l.info
	i.Repaired = true
	i.Pictures, i.Size = s.pictures, s.size+int64(len(index))
	i.Width, i.Height, i.Profile = s.format.Width, s.format.Height, s.format.Profile
	i.SHA256 = hex.EncodeToString(s.hash.Sum(nil))
	i.Audio = i.Audio.lasting(s.frames)
	i.lasts(fmp4.Duration(s.duration))
	return a.publish(l.path, i)
}

// adopt lists a recording that had got its name when the last step, the sync
// of the directory, failed.
func (a *Archive) adopt(l leftover) error {
	final := a.path(l.info.ID, "")
	i, err := a.readInfo(final + infoSuffix)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("repair recording: %w", err)
	}
	if i.Sequence != l.info.Sequence {
		a.log.Warn("a recording that was cut off is gone", "file", l.path)
		return nil
	}
	for _, dir := range []string{filepath.Dir(final), filepath.Dir(l.path)} {
		if err := a.fs.SyncDir(dir); err != nil {
			return fmt.Errorf("repair recording: %w", err)
		}
	}
	a.enlist(i)
	return nil
}

// discard removes a leftover with nothing in it.
func (a *Archive) discard(l leftover) error {
	if err := a.fs.Remove(l.path); err != nil {
		return fmt.Errorf("repair recording: %w", err)
	}
	a.mu.Lock()
	delete(a.taken, l.info.ID)
	a.mu.Unlock()
	return a.fs.SyncDir(filepath.Dir(l.path))
}

// scanned is what a file holds up to its last whole part.
type scanned struct {
	size      int64 // bytes
	duration  int64 // ticks
	pictures  int
	frames    int // of sound
	keyframes []fmp4.Keyframe
	format    h264.Format
	hash      hash.Hash // of size bytes
}

// scan reads a file to its last whole part. An error is one of reading: a
// file that ends anywhere, or in rubbish, is none.
func scan(r io.Reader) (*scanned, error) {
	s := &scanned{hash: sha256.New()}
	rd, err := fmp4.NewReader(r)
	if errors.Is(err, fmp4.ErrTorn) {
		return s, nil
	} else if err != nil {
		return nil, err
	}
	s.hash.Write(rd.Header())
	// What a failing disk spoiled in the middle is kept, as whole parts
	// follow it: pending is then the state before it.
	pending := *s
	pending.size = int64(len(rd.Header()))
	var mark []byte
	for {
		p, err := rd.Next()
		if errors.Is(err, io.EOF) || errors.Is(err, fmp4.ErrTorn) {
			break
		} else if err != nil {
			return nil, err
		}
		if !p.Whole && mark == nil {
			if mark, err = s.hash.(encoding.BinaryMarshaler).MarshalBinary(); err != nil {
				return nil, err
			}
		}
		s.hash.Write(p.Raw)
		if p.Key && p.Whole {
			pending.keyframes = append(pending.keyframes, fmp4.Keyframe{Time: p.Base, Offset: pending.size})
			if pending.pictures == 0 {
				pending.format = formatOf(&p)
			}
		}
		pending.size += int64(len(p.Raw))
		pending.frames += p.Frames
		if p.Pictures > 0 {
			pending.duration = p.Base + p.Duration
			pending.pictures += p.Pictures
		}
		if p.Whole {
			*s, mark = pending, nil
		}
	}
	if mark != nil {
		if err := s.hash.(encoding.BinaryUnmarshaler).UnmarshalBinary(mark); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// formatOf reads the format from the first picture of a part.
func formatOf(p *fmp4.Part) h264.Format {
	samples, err := p.Samples()
	if err != nil {
		return h264.Format{}
	}
	for _, nalu := range samples[0].NALUs {
		if h264.TypeOf(nalu) == h264.NALUSPS {
			if f, err := h264.ParseFormat(nalu); err == nil {
				return f
			}
		}
	}
	return h264.Format{}
}
