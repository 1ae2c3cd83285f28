// Package aac is the vocabulary of sound: frames of AAC, and the ADTS headers
// they travel with in a stream (ISO/IEC 14496-3).
//
// Sound is taken from a camera to a recording untouched; nothing here decodes
// it. The headers are read here because package mpeg4audio of mediacommon takes
// whole frames only, and none with a CRC.
//
// Like capture/h264 it is a leaf: it imports nothing else of lenscast.
package aac

import (
	"errors"
	"fmt"
	"time"
)

// SamplesPerFrame is the number of samples of each channel in a frame. With
// SBR, which a stream need not announce, a decoder makes twice as many at twice
// the rate: the time is the same.
const SamplesPerFrame = 1024

const (
	// HeaderSize is the number of bytes that ParseHeader needs.
	HeaderSize = 7
	// MaxFrameSize bounds a frame with its header, in bytes: frame_length
	// has 13 bits.
	MaxFrameSize = 1<<13 - 1
)

// Frame is a frame of sound, with all of its channels.
//
// Once published a frame is immutable: it is shared by its readers.
type Frame struct {
	Config
	// Data is one raw_data_block (section 4.4.2.1), without a header.
	Data []byte
	// PTS is the presentation time of the first sample, on the clock of the
	// pictures that the frame belongs to.
	PTS time.Duration
}

// Config is what a decoder must know before the first frame. The object type
// is always AAC LC.
type Config struct {
	SampleRate int // Hz, 7350 to 96000
	Channels   int // 1 to 6, or 8
}

// String names the sound for people: "AAC, 48 kHz, stereo".
func (c Config) String() string {
	channels := fmt.Sprintf("%d channels", c.Channels)
	switch c.Channels {
	case 1:
		channels = "mono"
	case 2:
		channels = "stereo"
	}
	return fmt.Sprintf("AAC, %g kHz, %s", float64(c.SampleRate)/1000, channels)
}

// Time returns how long a number of samples lasts.
func (c Config) Time(samples int64) time.Duration {
	rate := int64(c.SampleRate)
	return time.Duration(samples/rate)*time.Second + time.Duration(samples%rate)*time.Second/time.Duration(rate)
}

// Samples returns how many samples a time lasts, rounded to the nearest.
func (c Config) Samples(d time.Duration) int64 {
	// In two parts so that no time overflows.
	rate, second := int64(c.SampleRate), int64(time.Second)
	whole, rest := int64(d)/second, int64(d)%second
	return whole*rate + (rest*rate+second/2)/second
}

// Silence returns the content of a frame in which nothing is heard, nil where
// there are more than two channels. It must not be written to.
func (c Config) Silence() []byte {
	// Elements without any spectral data (section 4.4.2): all bits are 0 but
	// those that name the element and the end of the block.
	switch c.Channels {
	case 1:
		return []byte{0, 0, 0, 0x07} // single_channel_element, ID_END
	case 2:
		return []byte{0x20, 0, 0, 0, 0, 0, 0x0e} // channel_pair_element, ID_END
	}
	return nil
}

// Header is the ADTS header of a frame (section 1.A.3.2).
type Header struct {
	Config
	Size  int // of the header, in bytes
	Frame int // of the whole frame, header included, in bytes
}

// What is wrong with a header.
var (
	ErrHeader      = errors.New("no ADTS header")
	ErrUnsupported = errors.New("AAC of a rare kind, set the sender to AAC LC")
)

// sampleRates are those of sampling_frequency_index (table 1.18).
var sampleRates = [...]int{96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350}

// ParseHeader reads the header that b, of at least HeaderSize bytes, begins
// with. The error is ErrHeader when there is none, and ErrUnsupported when the
// frame is none that a Frame can be made of.
func ParseHeader(b []byte) (h Header, err error) {
	if len(b) < HeaderSize || b[0] != 0xff || b[1]&0xf6 != 0xf0 { // syncword, layer
		return h, ErrHeader
	}
	rate := int(b[2] >> 2 & 0x0f)
	h.Size = HeaderSize
	if b[1]&1 == 0 { // protection_absent
		h.Size += 2 // crc_check
	}
	h.Frame = int(b[3]&3)<<11 | int(b[4])<<3 | int(b[5]>>5)
	if rate >= len(sampleRates) || h.Frame <= h.Size {
		return h, ErrHeader
	}
	const profileLC = 1
	channels := int(b[2]&1)<<2 | int(b[3]>>6)
	// Channel configuration 0 describes the channels within the frames; more
	// than one raw_data_block can't be taken apart without decoding.
	if b[2]>>6 != profileLC || channels == 0 || b[6]&3 != 0 {
		return h, ErrUnsupported
	}
	if channels == 7 {
		channels = 8
	}
	h.Config = Config{SampleRate: sampleRates[rate], Channels: channels}
	return h, nil
}
