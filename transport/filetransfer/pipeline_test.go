package filetransfer

import (
	"bytes"
	"errors"
	"testing"
)

// TestPipeline takes content through two steps, in order, with no more buffers
// than there is room for, and gives all of the room back.
func TestPipeline(t *testing.T) {
	const size = 4 * pipelinedBytes
	content := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	for _, bytesLeft := range []int64{0, bufferUnit, 1 << 20} {
		shared := room{size: bytesLeft}
		p := newPipeline(64<<10, &shared)
		for range 2 { // files
			var first, second bytes.Buffer
			marked := -1
			p.start(size,
				func(c []byte) error { first.Write(c); return nil },
				func(c []byte) error { second.Write(c); return nil })
			for at := 0; at < size; {
				n := min(1000+at%7000, size-at)
				buf := p.buffer(n)
				copy(buf, content[at:at+n])
				if err := p.add(buf, buf[:n]); err != nil {
					t.Fatal(err)
				}
				if at += n; at > size/2 && marked < 0 {
					marked = at
					p.mark(func(error) {
						if second.Len() != at {
							t.Errorf("marked after %d bytes, want %d", second.Len(), at)
						}
					})
				}
			}
			if err := p.finish(); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(first.Bytes(), content) || !bytes.Equal(second.Bytes(), content) {
				t.Errorf("room %d: the steps saw other content", bytesLeft)
			}
			if taken, users := shared.taken.Load(), shared.users.Load(); taken != 0 || users != 0 {
				t.Errorf("%d bytes of room are taken by %d, want none", taken, users)
			}
		}
	}
}

// TestPipelineShares has a second pipeline begin while a first one has all of the
// room: the first gives back what is more than half.
func TestPipelineShares(t *testing.T) {
	const size = 8 * bufferUnit
	shared := room{size: size}
	hold := make(chan struct{})
	first, second := newPipeline(size, &shared), newPipeline(size, &shared)
	first.start(pipelinedBytes, func([]byte) error { <-hold; return nil })
	for range size / bufferUnit {
		_ = first.add(first.buffer(bufferUnit), nil) // its step does not fail
	}
	if first.held != size {
		t.Errorf("alone it holds %d bytes, want %d", first.held, size)
	}
	second.start(pipelinedBytes, func([]byte) error { return nil })
	close(hold)
	for range 100 {
		_ = first.add(first.buffer(bufferUnit), nil) // likewise
	}
	if first.held > size/2 {
		t.Errorf("beside another it holds %d bytes, want at most %d", first.held, size/2)
	}
	for _, p := range []*pipeline{first, second} {
		if err := p.finish(); err != nil {
			t.Error(err)
		}
	}
}

// TestPipelineFails stops at the first step that fails, and still answers marks.
func TestPipelineFails(t *testing.T) {
	broken := errors.New("broken")
	for _, size := range []int64{1, pipelinedBytes} {
		p := newPipeline(64<<10, nil)
		steps := 0
		p.start(size,
			func([]byte) error { return broken },
			func([]byte) error { steps++; return nil })
		_ = p.add(p.buffer(10), nil) // the error may come with a later one
		var marked error
		p.mark(func(failed error) { marked = failed })
		if err := p.finish(); !errors.Is(err, broken) || !errors.Is(marked, broken) {
			t.Errorf("finish: %v, mark: %v, want %v", err, marked, broken)
		}
		if steps != 0 {
			t.Errorf("the second step was done %d times", steps)
		}
	}
}
