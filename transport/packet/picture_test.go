package packet_test

import (
	"bytes"
	"testing"

	"github.com/pion/rtp/codecs"

	"github.com/lenscast/lenscast/capture/h264"
	"github.com/lenscast/lenscast/transport/packet"
)

const testPayload = 1170

// nalu makes a NAL unit of the given type and size.
func nalu(header byte, size int) []byte {
	n := bytes.Repeat([]byte{header ^ 0x55, 0x80, 0x7f}, size/3+1)[:size]
	n[0] = header
	return n
}

// depacketize reads payloads back with pion's reader of RFC 6184.
func depacketize(t *testing.T, payloads [][]byte) []byte {
	t.Helper()
	var d codecs.H264Packet
	var stream []byte
	for i, p := range payloads {
		part, err := d.Unmarshal(p)
		if err != nil {
			t.Fatalf("payload %d: %v", i, err)
		}
		stream = append(stream, part...)
	}
	return stream
}

func annexB(nalus ...[]byte) []byte {
	var stream []byte
	for _, n := range nalus {
		stream = append(append(stream, 0, 0, 0, 1), n...)
	}
	return stream
}

func TestPictureSurvivesPacketizing(t *testing.T) {
	sps, pps, pps2 := nalu(0x67, 30), nalu(0x68, 5), nalu(0x68, 6)
	for name, nalus := range map[string][][]byte{
		"one small":        {nalu(0x61, 100)},
		"one byte":         {{0x61}},
		"just fits":        {nalu(0x61, testPayload)},
		"just too large":   {nalu(0x61, testPayload+1)},
		"large":            {nalu(0x61, 17000)},
		"huge":             {nalu(0x65, 3_000_000)},
		"IDR, two PPS":     {sps, pps, pps2, nalu(0x65, 50000)},
		"parameter sets":   {sps, pps, nalu(0x06, 1100), nalu(0x65, 10)},
		"many slices":      {nalu(0x61, 3000), nalu(0x61, 200), nalu(0x61, 200), nalu(0x61, 3000)},
		"fills the STAP-A": {nalu(0x61, 583), nalu(0x61, 582)},
		"over the STAP-A":  {nalu(0x61, 583), nalu(0x61, 583)},
	} {
		t.Run(name, func(t *testing.T) {
			pic := packet.NewPacketizer(testPayload).Picture(&h264.AccessUnit{NALUs: nalus})
			size := 0
			for i, p := range pic.Payloads {
				size += len(p)
				if len(p) > testPayload {
					t.Errorf("payload %d has %d bytes", i, len(p))
				}
			}
			if size != pic.Size {
				t.Errorf("size is %d, payloads have %d", pic.Size, size)
			}
			if got, want := depacketize(t, pic.Payloads), annexB(nalus...); !bytes.Equal(got, want) {
				t.Errorf("got %d bytes back, not the %d that went in", len(got), len(want))
			}
		})
	}
}

func TestFragmentsAreOfEqualSize(t *testing.T) {
	pic := packet.NewPacketizer(testPayload).Picture(&h264.AccessUnit{NALUs: [][]byte{nalu(0x61, 17001)}})
	first := len(pic.Payloads[0])
	for i, p := range pic.Payloads[:len(pic.Payloads)-1] {
		if len(p) != first {
			t.Errorf("fragment %d has %d bytes, the first %d: GSO cannot carry them together", i, len(p), first)
		}
	}
	if last := len(pic.Payloads[len(pic.Payloads)-1]); last > first || last < first-len(pic.Payloads) {
		t.Errorf("the last fragment has %d bytes, the others %d", last, first)
	}
}

func TestDelimitersAndFillerAreLeftOut(t *testing.T) {
	slice := nalu(0x61, 50)
	pic := packet.NewPacketizer(testPayload).Picture(&h264.AccessUnit{
		NALUs: [][]byte{{0x09, 0xf0}, nil, slice, nalu(0x0c, 2000)},
	})
	if len(pic.Payloads) != 1 || !bytes.Equal(pic.Payloads[0], slice) {
		t.Errorf("got %d payloads, want the slice alone", len(pic.Payloads))
	}
}

func TestPictureIsCutOnce(t *testing.T) {
	p := packet.NewPacketizer(testPayload)
	au := &h264.AccessUnit{NALUs: [][]byte{nalu(0x61, 5000)}}
	pic := p.Picture(au)
	if p.Picture(au) != pic {
		t.Error("the second viewer got a copy of its own")
	}
	for range 1000 {
		p.Picture(&h264.AccessUnit{NALUs: [][]byte{nalu(0x61, 10)}})
	}
	if p.Picture(au) == pic {
		t.Error("a picture is remembered forever")
	}
}

func FuzzPacketizer(f *testing.F) {
	f.Add(bytes.Repeat([]byte{0x65}, 3000), uint16(1200), uint16(100))
	f.Add([]byte{0x67, 0x68, 0x65}, uint16(0), uint16(1))
	f.Fuzz(func(t *testing.T, data []byte, maxPayload, split uint16) {
		au := &h264.AccessUnit{}
		var want [][]byte
		for rest := data; len(rest) > 0; {
			n := min(int(split)+1, len(rest))
			unit := rest[:n]
			rest = rest[n:]
			au.NALUs = append(au.NALUs, unit)
			// Types of RTP payloads only cannot be read back.
			switch typ := h264.TypeOf(unit); {
			case typ == 0 || typ > 23:
				return
			case typ != h264.NALUAUD && typ != h264.NALUFiller:
				want = append(want, unit)
			}
		}
		limit := max(int(maxPayload), packet.MinPayload)
		pic := packet.NewPacketizer(int(maxPayload)).Picture(au)
		for _, p := range pic.Payloads {
			if len(p) == 0 || len(p) > limit {
				t.Fatalf("payload of %d bytes, limit %d", len(p), limit)
			}
		}
		if got := depacketize(t, pic.Payloads); !bytes.Equal(got, annexB(want...)) {
			t.Fatalf("got % x, want % x", got, annexB(want...))
		}
	})
}

func BenchmarkPicture(b *testing.B) {
	p := packet.NewPacketizer(testPayload)
	nalus := [][]byte{nalu(0x61, 17000)}
	b.ReportAllocs()
	for b.Loop() {
		p.Picture(&h264.AccessUnit{NALUs: nalus})
	}
}

func TestPacketizersShare(t *testing.T) {
	var p packet.Packetizers
	first := p.Get(1200)
	if p.Get(1200) != first {
		t.Error("two senders of the same size cut each picture twice")
	}
	if p.Get(1000) == first {
		t.Error("two senders of different sizes share payloads")
	}
}
