// Package fmp4 writes and reads the fragmented MP4 of a recording (ISO/IEC
// 14496-12): a file that is only ever appended to and that plays while it
// grows and after any cut.
//
//	| ftyp moov free | moof mdat free | moof mdat free | ... | mfra |
//	| header         | part           | part           |     | index|
//
// Header and parts are padded with a free box to whole blocks of 4096 bytes.
// So a write never touches a block that was made durable before, and an SD
// card has nothing to read back. The free box of a part also holds a checksum
// of the part, so that after a power cut a part that was written by half is
// told from a whole one also on file systems that extend a file first and
// write the data later (FAT, exFAT).
//
// A file has one track of pictures and, if its header says so, one of sound
// (AAC), each with its own clock. A part holds what sound had come by the time
// that it was written: that may be of other times than its pictures, or none,
// and the last part may be of sound alone. No picture waits for sound.
//
// The index at the end (mfra) tells where the keyframes are. Players that
// expect an index in front get one from [Player].
//
// Init.Marshal of mediacommon makes the header. Its Part.Marshal is not used:
// it copies every byte three times and allocates for every sample, needs to
// seek, and knows neither padding nor checksums.
package fmp4

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/fmp4"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/fmp4/seekablebuffer"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"

	"github.com/lenscast/lenscast/capture/aac"
)

// Timescale is the number of ticks in a second of media time. The sound has
// clock ticks of its own: its samples.
const Timescale = 90000

// Block is what header and parts are padded to, in bytes.
const Block = 4096

// MaxPart bounds the media data of a part, in bytes.
const MaxPart = 64 << 20

const (
	videoTrack = 1
	audioTrack = 2

	// Sample flags (ISO/IEC 14496-12 section 8.8.3.1).
	flagsKey    = 0x02000000 // sample_depends_on 2: on no other
	flagsNonKey = 0x01010000 // sample_depends_on 1, sample_is_non_sync_sample

	boxHeader   = 8      // size, type
	moofFixed   = 8 + 16 // moof, mfhd
	tfhdSize    = 16
	tfdtSize    = 20
	trunFixed   = 20
	trafFixed   = boxHeader + tfhdSize + tfdtSize + trunFixed
	trunVideo   = 12            // duration, size and flags of each sample
	trunAudio   = 8             // duration and size
	checksumBox = boxHeader + 8 // free box with magic and checksum

	// What a trun box says of its samples; the first is the data offset.
	flagsVideo = 0x000701
	flagsAudio = 0x000301
)

// What the content of a free box begins with.
const (
	checksumMagic = "crc1" // checksum of the part
	noteMagic     = "note" // length and bytes of the note
)

const maxNote = 2000

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Ticks converts media time to ticks, rounded to the nearest.
func Ticks(d time.Duration) int64 {
	// 90000/1e9 = 9/1e5, in two parts so that no media time overflows.
	const unit = 100_000
	whole, rest := int64(d)/unit, int64(d)%unit
	return whole*9 + (rest*9+unit/2)/unit
}

// Duration converts ticks to media time.
func Duration(ticks int64) time.Duration {
	return time.Duration(ticks/Timescale)*time.Second +
		time.Duration(ticks%Timescale*int64(time.Second)/Timescale)
}

// Header returns the beginning of a file with the given parameter sets, and
// with a track for sound unless audio is zero. The note, of at most 2000 bytes,
// is for whoever finds the file unfinished; it is in the free box, where
// players don't look.
func Header(sps, pps []byte, audio aac.Config, note []byte) ([]byte, error) {
	if len(note) > maxNote {
		return nil, fmt.Errorf("make MP4 header: note of %d bytes, the most is %d", len(note), maxNote)
	}
	init := fmp4.Init{Tracks: []*fmp4.InitTrack{{
		ID: videoTrack, TimeScale: Timescale,
		Codec: &codecs.H264{SPS: sps, PPS: pps},
	}}}
	if audio != (aac.Config{}) {
		channels := min(audio.Channels, 7) // 8 are configuration 7
		init.Tracks = append(init.Tracks, &fmp4.InitTrack{
			ID: audioTrack, TimeScale: uint32(audio.SampleRate),
			Codec: &codecs.MPEG4Audio{Config: mpeg4audio.AudioSpecificConfig{
				Type: mpeg4audio.ObjectTypeAACLC, SampleRate: audio.SampleRate, ChannelConfig: uint8(channels),
			}},
		})
	}
	var buf seekablebuffer.Buffer
	err := init.Marshal(&buf)
	if err != nil {
		return nil, fmt.Errorf("make MP4 header: %w", err)
	}
	b := buf.Bytes()
	pad := padding(len(b) + len(note))
	b = appendBox(b, len(note)+pad, "free")
	b = append(b, noteMagic...)
	b = be.AppendUint32(b, uint32(len(note)))
	b = append(b, note...)
	return append(b, make([]byte, pad-boxHeader-8)...), nil
}

// padding returns the size of the free box that fills up to a whole block.
func padding(size int) int {
	pad := Block - size%Block
	if pad < checksumBox {
		pad += Block
	}
	return pad
}

// Sample is one picture.
type Sample struct {
	NALUs    [][]byte // without start codes
	Duration uint32   // ticks
	Key      bool
}

// size returns the bytes that the sample takes in the mdat box.
func (s *Sample) size() int {
	n := 0
	for _, nalu := range s.NALUs {
		n += 4 + len(nalu)
	}
	return n
}

// Audio is the sound of a part: frames that follow each other.
type Audio struct {
	Base   int64 // ticks of the first one since the start of the file
	Frames []AudioFrame
}

// AudioFrame is one frame of sound.
type AudioFrame struct {
	Data     []byte
	Duration uint32 // ticks
}

// AppendPart appends a part to dst. Parts are numbered from 1; base is the
// sum of the durations of all samples before it, in ticks.
func AppendPart(dst []byte, number uint32, base int64, samples []Sample, audio Audio) ([]byte, error) {
	videoData, audioData := 0, 0
	for i := range samples {
		videoData += samples[i].size()
	}
	for i := range audio.Frames {
		audioData += len(audio.Frames[i].Data)
	}
	data := videoData + audioData
	if data > MaxPart {
		return nil, fmt.Errorf("make MP4 part: %d bytes, the most is %d", data, MaxPart)
	}
	moof := moofFixed
	if len(samples) > 0 {
		moof += trafFixed + trunVideo*len(samples)
	}
	if len(audio.Frames) > 0 {
		moof += trafFixed + trunAudio*len(audio.Frames)
	}
	start := len(dst)

	dst = appendBox(dst, moof, "moof")
	dst = appendFullBox(dst, 16, "mfhd", 0, 0)
	dst = be.AppendUint32(dst, number)
	if len(samples) > 0 {
		dst = appendTraf(dst, videoTrack, base, flagsVideo, len(samples), trunVideo, moof+boxHeader)
		for i := range samples {
			s := &samples[i]
			flags := uint32(flagsNonKey)
			if s.Key {
				flags = flagsKey
			}
			dst = be.AppendUint32(dst, s.Duration)
			dst = be.AppendUint32(dst, uint32(s.size()))
			dst = be.AppendUint32(dst, flags)
		}
	}
	if len(audio.Frames) > 0 {
		dst = appendTraf(dst, audioTrack, audio.Base, flagsAudio, len(audio.Frames), trunAudio, moof+boxHeader+videoData)
		for i := range audio.Frames {
			dst = be.AppendUint32(dst, audio.Frames[i].Duration)
			dst = be.AppendUint32(dst, uint32(len(audio.Frames[i].Data)))
		}
	}

	dst = appendBox(dst, boxHeader+data, "mdat")
	for i := range samples {
		for _, nalu := range samples[i].NALUs {
			dst = be.AppendUint32(dst, uint32(len(nalu)))
			dst = append(dst, nalu...)
		}
	}
	for i := range audio.Frames {
		dst = append(dst, audio.Frames[i].Data...)
	}

	sum := crc32.Checksum(dst[start:], castagnoli)
	pad := padding(len(dst) - start)
	dst = appendBox(dst, pad, "free")
	dst = append(dst, checksumMagic...)
	dst = be.AppendUint32(dst, sum)
	return append(dst, make([]byte, pad-checksumBox)...), nil
}

// appendTraf appends the boxes of a track up to its n samples, which take entry
// bytes each. Its data begins at offset, from the start of the moof box.
func appendTraf(dst []byte, track uint32, base int64, flags uint32, n, entry, offset int) []byte {
	dst = appendBox(dst, trafFixed+entry*n, "traf")
	dst = appendFullBox(dst, tfhdSize, "tfhd", 0, 0x020000) // default-base-is-moof
	dst = be.AppendUint32(dst, track)
	dst = appendFullBox(dst, tfdtSize, "tfdt", 1, 0)
	dst = be.AppendUint64(dst, uint64(base))
	dst = appendFullBox(dst, trunFixed+entry*n, "trun", 0, flags)
	dst = be.AppendUint32(dst, uint32(n))
	return be.AppendUint32(dst, uint32(offset))
}

// Keyframe is where decoding can start: a part that begins with an IDR.
type Keyframe struct {
	Time   int64 // ticks since the start of the file
	Offset int64 // of the part in the file, bytes
}

const (
	tfraFixed = 24
	tfraEntry = 19
	mfroSize  = 16
)

// AppendIndex appends the index that ends a finished file: a movie fragment
// random access box (ISO/IEC 14496-12 section 8.8.9).
func AppendIndex(dst []byte, keyframes []Keyframe) []byte {
	// The number of entries and the size are 32 bits: 200 million keyframes.
	tfra := tfraFixed + tfraEntry*len(keyframes)
	mfra := boxHeader + tfra + mfroSize
	dst = appendBox(dst, mfra, "mfra")
	dst = appendFullBox(dst, tfra, "tfra", 1, 0)
	dst = be.AppendUint32(dst, videoTrack)
	dst = be.AppendUint32(dst, 0) // traf, trun and sample numbers have one byte
	dst = be.AppendUint32(dst, uint32(len(keyframes)))
	for _, k := range keyframes {
		dst = be.AppendUint64(dst, uint64(k.Time))
		dst = be.AppendUint64(dst, uint64(k.Offset))
		dst = append(dst, 1, 1, 1)
	}
	dst = appendFullBox(dst, mfroSize, "mfro", 0, 0)
	return be.AppendUint32(dst, uint32(mfra))
}

// appendSegmentIndex appends a segment index (ISO/IEC 14496-12 section
// 8.16.3) of the parts that follow it: from each keyframe to the next, the
// last one to end, at duration ticks.
func appendSegmentIndex(dst []byte, keyframes []Keyframe, end, duration int64) ([]byte, error) {
	if len(keyframes) > math.MaxUint16 {
		return nil, errors.New("make segment index: too many keyframes")
	}
	dst = appendFullBox(dst, 40+12*len(keyframes), "sidx", 1, 0)
	dst = be.AppendUint32(dst, videoTrack)
	dst = be.AppendUint32(dst, Timescale)
	dst = be.AppendUint64(dst, 0) // earliest presentation time
	dst = be.AppendUint64(dst, 0) // the first one follows at once
	dst = be.AppendUint16(dst, 0)
	dst = be.AppendUint16(dst, uint16(len(keyframes)))
	for i, k := range keyframes {
		next := Keyframe{Time: duration, Offset: end}
		if i+1 < len(keyframes) {
			next = keyframes[i+1]
		}
		size, length := next.Offset-k.Offset, next.Time-k.Time
		if size <= 0 || size > math.MaxInt32 || length < 0 || length > math.MaxUint32 {
			return nil, fmt.Errorf("make segment index: keyframe %d of %d bytes and %d ticks", i, size, length)
		}
		dst = be.AppendUint32(dst, uint32(size))
		dst = be.AppendUint32(dst, uint32(length))
		dst = be.AppendUint32(dst, 0x90000000) // starts with an IDR (SAP type 1)
	}
	return dst, nil
}

var be = binary.BigEndian

func appendBox(dst []byte, size int, kind string) []byte {
	dst = be.AppendUint32(dst, uint32(size))
	return append(dst, kind...)
}

func appendFullBox(dst []byte, size int, kind string, version byte, flags uint32) []byte {
	dst = appendBox(dst, size, kind)
	return be.AppendUint32(dst, uint32(version)<<24|flags)
}
