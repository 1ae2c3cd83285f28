//go:build cgo && ((linux && (amd64 || arm64 || arm)) || (darwin && (amd64 || arm64)))

package encode

import (
	"bytes"
	"math/bits"
	"math/rand/v2"
	"testing"
)

// bitWriter writes what zeroCodes reads.
type bitWriter struct {
	raw []byte
	n   int
}

func (w *bitWriter) bits(v uint32, n int) {
	for i := n - 1; i >= 0; i-- {
		if w.n%8 == 0 {
			w.raw = append(w.raw, 0)
		}
		w.raw[w.n/8] |= byte(v>>i&1) << (7 - w.n%8)
		w.n++
	}
}

// code writes an Exp-Golomb code.
func (w *bitWriter) code(v uint32) {
	n := bits.Len32(v + 1)
	w.bits(0, n-1)
	w.bits(v+1, n)
}

// TestZeroCodes compares NAL units with rewritten codes to the same units
// written with zeros in the first place.
func TestZeroCodes(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		fixed, keep, n := 1+rng.IntN(4), rng.IntN(3), 1+rng.IntN(2)
		var with, zero bitWriter
		for i := range fixed {
			v := uint32(1)
			if i > 0 {
				v = uint32(rng.IntN(3))
			}
			with.bits(v, 8)
			zero.bits(v, 8)
		}
		for range keep {
			v := uint32(rng.IntN(5000))
			with.code(v)
			zero.code(v)
		}
		for range n {
			with.code(uint32(rng.IntN(256)))
			zero.code(0)
		}
		for range rng.IntN(200) { // many zeros, so that there is much to escape
			v := uint32(rng.IntN(2) * rng.IntN(2) * rng.IntN(2))
			with.bits(v, 1)
			zero.bits(v, 1)
		}
		with.bits(1, 1) // the stop bit
		zero.bits(1, 1)
		got := zeroCodes(escape(with.raw), fixed, keep, n)
		if want := escape(zero.raw); !bytes.Equal(got, want) {
			t.Fatalf("fixed %d, keep %d, n %d:\n in % x\ngot % x\nwant % x", fixed, keep, n, with.raw, got, want)
		}
	}
}

func TestZeroCodesOfDamagedUnits(t *testing.T) {
	for _, nalu := range [][]byte{{}, {1}, {1, 0}, {1, 0, 0, 3, 0}, {1, 0x80}, {0x67, 0x42}, {0x68, 0, 0}} {
		if got := zeroIDs(nalu); !bytes.Equal(got, nalu) && len(got) > len(nalu) {
			t.Errorf("% x became % x", nalu, got)
		}
	}
}

func TestEscapeRoundTrip(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 5000 {
		raw := make([]byte, rng.IntN(40))
		for i := range raw {
			raw[i] = byte(rng.IntN(5))
		}
		nalu := escape(raw)
		for _, forbidden := range [][]byte{{0, 0, 0}, {0, 0, 1}, {0, 0, 2}} {
			if bytes.Contains(nalu, forbidden) {
				t.Fatalf("% x has % x", nalu, forbidden)
			}
		}
		if got := unescape(nalu); !bytes.Equal(got, raw) {
			t.Fatalf("% x came back as % x", raw, got)
		}
	}
}
