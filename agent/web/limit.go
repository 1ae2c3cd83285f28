package web

import (
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/lenscast/lenscast/agent/web/answer"
)

// How often requests that change something may come. A page with 16 cameras
// makes 16 sessions at once, with about 3 requests each.
const (
	unsafePerAddress = 10 // per second
	unsafeBurst      = 64
	unsafeInAll      = 100 // per second
	unsafeBurstInAll = 400
)

// How often one address may guess a password: five times, then every 10 s.
const (
	guessInterval = 10 * time.Second
	guessBurst    = 5
)

// maxAddresses bounds the memory of a limiter.
const maxAddresses = 4096

// limiter is a token bucket per remote address.
type limiter struct {
	limit rate.Limit
	burst int

	mu      sync.Mutex
	buckets map[netip.Prefix]*rate.Limiter
}

func newLimiter(limit rate.Limit, burst int) *limiter {
	return &limiter{limit: limit, burst: burst, buckets: make(map[netip.Prefix]*rate.Limiter)}
}

// bucket returns the bucket of the address that r comes from.
func (l *limiter) bucket(r *http.Request) *rate.Limiter {
	key := network(r.RemoteAddr)
	l.mu.Lock()
	defer l.mu.Unlock()
	if b, ok := l.buckets[key]; ok {
		return b
	}
	if len(l.buckets) >= maxAddresses {
		l.evict()
	}
	b := rate.NewLimiter(l.limit, l.burst)
	l.buckets[key] = b
	return b
}

// evict forgets the addresses that did nothing lately; where that is not
// enough, some of the others, so many that it need not be done each time.
func (l *limiter) evict() {
	for key, b := range l.buckets {
		if b.Tokens() >= float64(l.burst) {
			delete(l.buckets, key)
		}
	}
	for key := range l.buckets {
		if len(l.buckets) <= maxAddresses*3/4 {
			return
		}
		delete(l.buckets, key)
	}
}

// network returns what counts as one address: an IPv4 address, or the /64 of
// an IPv6 address, out of which one host has as many as it likes.
func network(remote string) netip.Prefix {
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Prefix{} // all unknown ones share a bucket
	}
	addr := ap.Addr().Unmap().WithZone("")
	bits := 32
	if addr.Is6() {
		bits = 64
	}
	prefix, _ := addr.Prefix(bits) // the bits fit the address
	return prefix
}

// take takes a token out of b. When there is none it returns how long to
// wait, else a function that puts the token back.
func take(b *rate.Limiter) (putBack func(), wait time.Duration) {
	now := time.Now()
	res := b.ReserveN(now, 1)
	if wait := res.DelayFrom(now); wait > 0 {
		res.CancelAt(now)
		return nil, wait
	}
	return func() { res.CancelAt(now) }, 0
}

// limitUnsafe limits requests that change something, per address and in all.
func limitUnsafe(next http.Handler) http.Handler {
	perAddress := newLimiter(unsafePerAddress, unsafeBurst)
	inAll := rate.NewLimiter(unsafeInAll, unsafeBurstInAll)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Method {
		case http.MethodGet, http.MethodHead, http.MethodOptions:
			next.ServeHTTP(w, r)
			return
		}
		putBack, wait := take(perAddress.bucket(r))
		if wait == 0 {
			if _, wait = take(inAll); wait > 0 {
				putBack()
			}
		}
		if wait > 0 {
			retryAfter(w, wait)
			answer.Problem(w, http.StatusTooManyRequests, "too many requests; wait a moment")
			return
		}
		next.ServeHTTP(w, r)
	})
}
