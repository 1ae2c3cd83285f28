package udp

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lenscast/lenscast/capture/h264"
	"github.com/lenscast/lenscast/transport/packet"
)

// camera plays access units in a loop, at their times.
type camera struct {
	aus    []*h264.AccessUnit
	frame  time.Duration
	start  time.Time
	wishes atomic.Int64
	opened atomic.Int64
}

func newCamera(aus []*h264.AccessUnit) *camera {
	return &camera{aus: aus, frame: aus[1].PTS - aus[0].PTS, start: time.Now()}
}

// picture returns the ith since the start, of a clip that never ends.
func (c *camera) picture(i int) *h264.AccessUnit {
	au := *c.aus[i%len(c.aus)]
	au.PTS = time.Duration(i) * c.frame
	au.Captured = c.start.Add(au.PTS)
	return &au
}

// open returns a reader that begins with the newest IDR.
func (c *camera) open() Reader {
	c.opened.Add(1)
	i := int(time.Since(c.start) / c.frame)
	for !c.aus[i%len(c.aus)].Key {
		i--
	}
	return &cameraReader{camera: c, next: i, closed: make(chan struct{})}
}

type cameraReader struct {
	camera *camera
	next   int
	once   sync.Once
	closed chan struct{}
}

func (r *cameraReader) due() time.Time {
	return r.camera.start.Add(time.Duration(r.next) * r.camera.frame)
}

func (r *cameraReader) Next(ctx context.Context) (*h264.AccessUnit, error) {
	timer := time.NewTimer(time.Until(r.due()))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-r.closed:
		return nil, errors.New("closed")
	}
	r.next++
	return r.camera.picture(r.next - 1), nil
}

func (r *cameraReader) Len() int {
	if late := time.Since(r.due()); late >= 0 {
		return int(late/r.camera.frame) + 1
	}
	return 0
}

func (r *cameraReader) RequestKeyframe()                   { r.camera.wishes.Add(1) }
func (r *cameraReader) Afford(int)                         {}
func (r *cameraReader) Direct(func(*h264.AccessUnit) bool) {}
func (r *cameraReader) Close()                             { r.once.Do(func() { close(r.closed) }) }

func newPusher(tb testing.TB, url string, c *camera) *Pusher {
	tb.Helper()
	d, err := ParseDestination(url)
	if err != nil {
		tb.Fatal(err)
	}
	p, err := New(Params{Destination: d, Name: "test", Open: c.open, Clock: &packet.Clock{}})
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// start runs a Pusher until the test ends, again and again as the agent does.
// What Run returned comes over the channel.
func start(tb testing.TB, p *Pusher) <-chan error {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	errs := make(chan error, 1000)
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			err := p.Run(ctx, func(int) {})
			select {
			case errs <- err:
			default:
			}
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	})
	tb.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	return errs
}

// freePort returns a UDP port, even as RTP likes it, that is not in use.
func freePort(tb testing.TB) int {
	tb.Helper()
	for range 100 {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			tb.Fatal(err)
		}
		port := c.LocalAddr().(*net.UDPAddr).Port
		c.Close()
		if port%2 == 0 {
			return port
		}
	}
	tb.Fatal("no even port is free")
	return 0
}

func wait[T any](tb testing.TB, what string, c <-chan T) (v T) {
	tb.Helper()
	select {
	case v = <-c:
	case <-time.After(20 * time.Second):
		tb.Fatalf("no %s for 20 s", what)
	}
	return v
}

func until(tb testing.TB, what string, condition func() bool) {
	tb.Helper()
	for end := time.Now().Add(20 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			tb.Fatalf("after 20 s still not: %s", what)
		}
	}
}
