package archive

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"math"
	"path/filepath"
	"syscall"
	"time"

	"github.com/lenscast/lenscast/agent/durable"
	"github.com/lenscast/lenscast/agent/recording/fmp4"
	"github.com/lenscast/lenscast/capture/h264"
)

const (
	// partBytes ends a part early: it bounds what is held in memory.
	partBytes = 8 << 20

	// reserveBytes is how far ahead space is reserved: 16 s of 8 Mbit/s.
	// The file system then finds one long stretch for it, and its metadata
	// seldom changes.
	reserveBytes = 16 << 20
)

// Writer writes one running recording. It has one owner, who ends it by
// End and Finish, or by Abandon.
type Writer struct {
	a      *Archive
	path   string
	info   Info
	file   durable.File
	hash   hash.Hash
	part   int64 // ticks that a part lasts
	sps    []byte
	pps    []byte
	header []byte
	audio  audioTrack

	first    time.Duration // PTS of the first picture
	samples  []fmp4.Sample // of the part that collects, durations but the last known
	base     int64         // ticks of its first
	last     int64         // ticks of its last
	interval int64         // ticks between the last two pictures
	bytes    int           // of its NAL units and sound

	number    uint32 // of the last part written
	size      int64  // durable bytes
	reserved  int64  // bytes
	end       int64  // ticks that are durable
	keyframes []fmp4.Keyframe
	buf       []byte
}

// Create begins a recording with an IDR, which came as long ago as ago says.
// Pictures are collected for the length of a part and then made durable
// together; those that collect are lost when the power goes.
func (a *Archive) Create(camera string, au *h264.AccessUnit, ago, part time.Duration) (*Writer, error) {
	if err := checkCamera(camera); err != nil {
		return nil, fmt.Errorf("create recording of %q: %w", camera, err)
	}
	if err := a.ready(); err != nil {
		return nil, fmt.Errorf("create recording: %w", err)
	}
	sps, pps := au.ParameterSets()
	if !au.Key || len(sps) == 0 || len(pps) == 0 {
		return nil, errors.New("create recording: it does not begin with an IDR and its parameter sets")
	}
	format, err := h264.ParseFormat(sps[0])
	if err != nil {
		return nil, fmt.Errorf("create recording: %w", err)
	}
	a.mu.Lock()
	a.state.Sequence++
	info := Info{Camera: camera, Sequence: a.state.Sequence, Width: format.Width, Height: format.Height, Profile: format.Profile}
	a.mu.Unlock()
	now := a.clock.Read()
	info.tell(now, now.Boot-ago)
	w := &Writer{
		a: a, info: info, hash: sha256.New(), sps: sps[0], pps: pps[0],
		path: filepath.Join(a.dir, camera, fmt.Sprintf("%08d", info.Sequence)+mediaSuffix+partSuffix),
		part: max(fmp4.Ticks(part), 1), first: au.PTS,
	}
	if w.header, err = w.makeHeader(); err != nil {
		return nil, fmt.Errorf("create recording: %w", err)
	}
	if w.file, err = a.create(w.path); err != nil {
		return nil, fmt.Errorf("create recording: %w", err)
	}
	w.samples = append(w.samples, fmp4.Sample{NALUs: au.NALUs, Key: true})
	w.bytes = au.Size()
	a.mu.Lock()
	defer a.mu.Unlock()
	info.Running = true
	a.running[info.Sequence] = info
	return w, nil
}

// makeHeader makes the beginning of the file, with what is known so far as the
// note.
func (w *Writer) makeHeader() ([]byte, error) {
	known := w.info
	known.Gaps = nil // of the first part, if any: for them there is no room
	note, err := json.Marshal(known)
	if err != nil {
		return nil, err
	}
	return fmp4.Header(w.sps, w.pps, w.audio.config, note)
}

// create makes the file, and its directory when it is the camera's first. The
// first part makes the name durable.
func (a *Archive) create(name string) (durable.File, error) {
	f, err := a.fs.Create(name)
	if errors.Is(err, fs.ErrNotExist) {
		if err := durable.MkdirAll(a.fs, filepath.Dir(name)); err != nil {
			return nil, err
		}
		f, err = a.fs.Create(name)
	}
	return f, err
}

// Write adds the next picture. When a part is complete it is written and made
// durable before Write returns. After an error the recording must be given up
// by Abandon, but for ErrFull, which asks to End it: all is written, and there
// is no room for more.
func (w *Writer) Write(au *h264.AccessUnit) error {
	t := fmp4.Ticks(au.PTS - w.first)
	if err := w.lasts(t); err != nil {
		return err
	}
	var full error
	length := t - w.base
	// A part that begins with an IDR can be found by the index, so one that
	// is half full waits no longer.
	if length >= w.part || au.Key && 2*length >= w.part || w.bytes+au.Size() > partBytes {
		if err := w.flush(); err != nil {
			return err
		}
		w.base = t
		full = w.a.Room(0)
	}
	w.samples = append(w.samples, fmp4.Sample{NALUs: au.NALUs, Key: au.Key})
	w.bytes += au.Size()
	w.last = t
	return full
}

// lasts says that the last picture is shown until t.
func (w *Writer) lasts(t int64) error {
	d := t - w.last
	if d <= 0 || d > math.MaxUint32 {
		return fmt.Errorf("write recording: the time of the pictures jumps by %v", fmp4.Duration(d))
	}
	w.samples[len(w.samples)-1].Duration = uint32(d)
	w.interval = d
	return nil
}

// Gap notes that pictures are missing between the last one written and pts.
func (w *Writer) Gap(pts time.Duration, reason string) {
	if len(w.info.Gaps) >= maxGaps {
		return
	}
	at := fmp4.Duration(w.last)
	w.info.Gaps = append(w.info.Gaps, Gap{At: Seconds(at), Duration: Seconds(pts - w.first - at), Reason: reason})
}

// Duration returns the media time from the first picture to the last.
func (w *Writer) Duration() time.Duration { return fmp4.Duration(w.last) }

// Size returns the bytes written, without those of the part that collects.
func (w *Writer) Size() int64 { return w.size }

// flush writes the part that collects and makes it durable.
func (w *Writer) flush() error {
	buf := w.buf[:0]
	if w.number == 0 {
		if err := w.addAudioTrack(); err != nil {
			return err
		}
		buf = append(buf, w.header...)
	}
	at := w.size + int64(len(buf))
	buf, err := fmp4.AppendPart(buf, w.number+1, w.base, w.samples, w.audio.part)
	if err != nil {
		return err
	}
	w.buf = buf
	if err := w.append(buf); err != nil {
		return err
	}
	if err := w.file.Datasync(); err != nil {
		return fmt.Errorf("write recording: %w", err)
	}
	if w.number == 0 {
		if err := w.a.fs.SyncDir(filepath.Dir(w.path)); err != nil {
			return fmt.Errorf("write recording: %w", err)
		}
	}
	w.hash.Write(buf)
	w.size += int64(len(buf))
	w.number++
	if len(w.samples) > 0 && w.samples[0].Key {
		w.keyframes = append(w.keyframes, fmp4.Keyframe{Time: w.base, Offset: at})
	}
	for i := range w.samples {
		w.end += int64(w.samples[i].Duration)
	}
	w.info.Pictures += len(w.samples)
	w.info.Size = w.size
	w.info.Audio = w.audio.info()
	w.info.lasts(fmp4.Duration(w.end))
	clear(w.samples) // let go of the pictures
	w.samples, w.bytes = w.samples[:0], 0
	w.audio.written()

	w.a.mu.Lock()
	defer w.a.mu.Unlock()
	running := w.info
	running.Running, running.Gaps = true, nil
	w.a.running[w.info.Sequence] = running
	return nil
}

// append writes at the end of the file.
func (w *Writer) append(b []byte) error {
	if end := w.size + int64(len(b)); end > w.reserved {
		n := (end - w.reserved + reserveBytes - 1) / reserveBytes * reserveBytes
		switch err := w.file.Allocate(w.reserved, n); {
		case err == nil:
			w.reserved += n
		case errors.Is(err, syscall.ENOSPC):
			// There may be room for what is to be written all the same.
		default:
			return fmt.Errorf("write recording: %w", err)
		}
	}
	n, err := w.file.WriteAt(b, w.size)
	if err == nil && n != len(b) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return fmt.Errorf("write recording: %w", err)
	}
	return nil
}

// End writes the last part and makes it durable: after it no picture is lost
// any more. Finish must follow, or Abandon after an error. next is the PTS of
// the picture that would follow, and so the end of the last one; 0 when there
// is none.
func (w *Writer) End(next time.Duration) error {
	end := fmp4.Ticks(next - w.first)
	if d := end - w.last; d <= 0 || d > math.MaxUint32 {
		end = w.last + w.usual()
	}
	if err := w.lasts(end); err != nil {
		return err
	}
	return w.flush()
}

// Finish makes a finished recording of one that was ended, with the sound that
// came since: when it returns nil, the file has its final name, durably. It may run beside the Writer of
// the next recording; it takes about ten syncs, which is a second or more on a
// slow card.
//
// After an error, Run finishes the recording as soon as that is possible.
func (w *Writer) Finish() error {
	if err := w.complete(); err != nil {
		w.Abandon()
		return err
	}
	w.a.mu.Lock()
	w.info.tell(w.a.clock.Read(), time.Duration(w.info.Start.Boot))
	w.info.Audio = w.audio.info()
	w.info.lasts(fmp4.Duration(w.end))
	w.a.name(&w.info)
	w.a.mu.Unlock()
	if err := w.a.publish(w.path, w.info); err != nil {
		w.a.leave(leftover{path: w.path, info: w.info, limit: w.size})
		return fmt.Errorf("finish recording: %w", err)
	}
	return nil
}

// usual returns how long a picture lasts, by the one before.
func (w *Writer) usual() int64 {
	if w.interval > 0 {
		return w.interval
	}
	return fmp4.Timescale / 30
}

// complete writes the index, and syncs and closes the file.
func (w *Writer) complete() error {
	if len(w.audio.part.Frames) > 0 {
		if err := w.flush(); err != nil {
			return err
		}
	}
	index := fmp4.AppendIndex(w.buf[:0], w.keyframes)
	if err := w.append(index); err != nil {
		return err
	}
	size := w.size + int64(len(index))
	if err := w.file.Truncate(size); err != nil { // gives back what is reserved
		return fmt.Errorf("finish recording: %w", err)
	}
	if err := w.file.Sync(); err != nil {
		return fmt.Errorf("finish recording: %w", err)
	}
	w.hash.Write(index)
	w.size, w.info.Size = size, size
	w.info.SHA256 = hex.EncodeToString(w.hash.Sum(nil))
	f := w.file
	w.file = nil
	if err := f.Close(); err != nil {
		return fmt.Errorf("finish recording: %w", err)
	}
	return nil
}

// Abandon gives the recording up. Run makes a finished one of the parts that
// were durable.
func (w *Writer) Abandon() {
	if w.file != nil {
		w.file.Close() // nothing depends on it any more
	}
	w.a.mu.Lock()
	w.a.name(&w.info)
	w.a.mu.Unlock()
	w.a.leave(leftover{path: w.path, info: w.info, limit: w.size})
}
