package filetransfer

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

func frameOf(t frameType, payload string) []byte {
	frame := append(make([]byte, headerBytes), payload...)
	putHeader(frame, t)
	return frame
}

// TestFrame holds the codec against the bytes that PROTOCOL.md leads to.
func TestFrame(t *testing.T) {
	got := frameOf(frameAck, `{"offset":5}`)
	want := []byte("A\x00\x00\x0c\xb3\x40\xce\x78" + `{"offset":5}`)
	if !bytes.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if sum := checksum([]byte("1234"), []byte("56789")); sum != 0xE3069283 {
		t.Errorf("CRC-32C of 123456789 is %08x", sum)
	}
}

// FuzzFrames reads frames of a stranger: no panic, no frame beyond the limits,
// and what was read is what a writer makes of it.
func FuzzFrames(f *testing.F) {
	f.Add(frameOf(frameHello, `{"agent":"hero"}`))
	f.Add(append(frameOf(frameData, "hello"), frameOf(frameEnd, `{}`)...))
	f.Add([]byte{'D', 0xff, 0xff, 0xff, 0, 0, 0, 0})
	f.Add([]byte("A\x00\x00"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		r := newFrameReader(bytes.NewReader(stream))
		at := 0
		for {
			kind, payload, err := r.next()
			if err != nil {
				var e *Error
				if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.As(err, &e) {
					t.Fatalf("unexpected error %v", err)
				}
				return
			}
			if kind != frameData && len(payload) > maxMessage || len(payload) > maxData {
				t.Fatalf("%v frame of %d bytes", kind, len(payload))
			}
			again := frameOf(kind, string(payload))
			if !bytes.HasPrefix(stream[at:], again) {
				t.Fatalf("read %q, which is written as %q", stream[at:], again)
			}
			at += len(again)
		}
	})
}

// FuzzMessages decodes what a stranger says: whatever passes the checks is
// within the limits that the rest of the package relies on.
func FuzzMessages(f *testing.F) {
	f.Add([]byte(`{"agent":"hero","file":"0123456789","name":"a.mp4","size":5,"modified":"2026-11-22T07:40:14Z"}`))
	f.Add([]byte(`{"state":"partial","offset":5}`))
	f.Add([]byte(`{"state":"have","sha256":"` + strings.Repeat("0", 64) + `"}`))
	f.Add([]byte(`{"code":"full","reason":"no"}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		var h hello
		if decodeMessage(frameHello, payload, &h) == nil && h.check() == nil {
			if h.Size < 0 || strings.ContainsAny(h.Name+h.Agent+h.Camera+h.File, "/\\\x00") || h.Agent == "" || h.Name == "" {
				t.Fatalf("%+v passed", h)
			}
			if _, err := encodeMessage(nil, h); err != nil {
				t.Fatalf("%+v can't be sent: %v", h, err)
			}
		}
		const size = 100
		var o offer
		if decodeMessage(frameOffer, payload, &o) == nil && o.check(size) == nil {
			if o.Offset < 0 || o.State == offerPartial && o.Offset > size || o.State == offerHave && o.SHA256 == nil {
				t.Fatalf("%+v passed", o)
			}
			if r := o.refusal(); r != nil && (r.RetryAfter < 0 || r.RetryAfter > maxRetry) {
				t.Fatalf("%+v makes a sender wait %v", o, r.RetryAfter)
			}
		}
		_ = decodeFailure(payload)
	})
}

// FuzzHashLog opens damaged logs: what is taken from them is a state that the
// hash accepts.
func FuzzHashLog(f *testing.F) {
	f.Add([]byte{})
	f.Add(bytes.Repeat([]byte("sha\x03"), hashLogRecord))
	f.Fuzz(func(t *testing.T, raw []byte) {
		l := NewHashLog()
		for ; len(raw) >= hashLogRecord; raw = raw[hashLogRecord:] {
			l.load(raw[:hashLogRecord])
		}
		for offset, state := range l.states {
			if err := CheckHashState(offset, state); err != nil {
				t.Fatal(err)
			}
		}
	})
}
