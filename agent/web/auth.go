package web

import (
	"cmp"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/lenscast/lenscast/agent/web/answer"
)

const (
	// signInLasts is how long a browser stays signed in.
	signInLasts = 30 * 24 * time.Hour

	// keyRounds makes it slow to find the password from a stolen cookie. It
	// takes well below a second once per start on the slowest board.
	keyRounds = 50_000
)

var errUnwell = errors.New("unwell")

// verdict is what admit says of a request.
type verdict int

const (
	refused   verdict = iota // no credentials, or wrong ones
	admitted                 // may watch
	throttled                // guesses too often
)

// auth knows who may watch.
type auth struct {
	secrets [][sha256.Size]byte // digests of password and token
	form    [sha256.Size]byte   // digest of what the login page asks for
	cookie  cookie
	guesses *limiter
}

func newAuth(password, token string) (*auth, error) {
	a := &auth{guesses: newLimiter(rate.Every(guessInterval), guessBurst)}
	for _, secret := range []string{password, token} {
		if secret != "" {
			a.secrets = append(a.secrets, sha256.Sum256([]byte(secret)))
		}
	}
	// The cookie's key comes from the secret itself: sign-ins survive a
	// restart of the agent and end when the password changes.
	asked := cmp.Or(password, token)
	a.form = sha256.Sum256([]byte(asked))
	if a.needed() {
		key, err := pbkdf2.Key(sha256.New, asked, []byte("lenscast viewer sign-in"), keyRounds, sha256.Size)
		if err != nil {
			return nil, fmt.Errorf("derive the sign-in key: %w", err)
		}
		a.cookie.key = key
	}
	return a, nil
}

// needed reports whether viewers are asked who they are.
func (a *auth) needed() bool { return len(a.secrets) > 0 }

// admit judges the credentials of r: a bearer token, basic authentication
// (any user name), or the cookie of a signed-in browser.
func (a *auth) admit(r *http.Request) verdict {
	if !a.needed() {
		return admitted
	}
	guess, ok := authorization(r)
	if !ok {
		if a.cookie.valid(r, time.Now()) {
			return admitted
		}
		return refused
	}
	return a.check(r, guess, a.secrets...)
}

// check compares a guess with the wanted digests, in constant time, unless
// the address has guessed wrong too often.
func (a *auth) check(r *http.Request, guess string, wanted ...[sha256.Size]byte) verdict {
	putBack, wait := take(a.guesses.bucket(r))
	if wait > 0 {
		return throttled
	}
	digest := sha256.Sum256([]byte(guess))
	match := 0
	for _, want := range wanted {
		match |= subtle.ConstantTimeCompare(digest[:], want[:])
	}
	if match == 0 {
		return refused
	}
	putBack() // only wrong guesses count
	return admitted
}

// authorization returns the secret in the Authorization header.
func authorization(r *http.Request) (secret string, ok bool) {
	if _, password, ok := r.BasicAuth(); ok {
		return password, true
	}
	return bearer(r)
}

func bearer(r *http.Request) (token string, ok bool) {
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.TrimSpace(token), ok && strings.EqualFold(scheme, "Bearer")
}

// require lets only admitted requests through, and of those that change
// something only our own page's, or those with a bearer token, which no
// browser adds by itself.
func (a *auth) require(next http.Handler) http.Handler {
	own := sameOrigin(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch a.admit(r) {
		case throttled:
			retryAfter(w, guessInterval)
			answer.Problem(w, http.StatusTooManyRequests, "too many wrong passwords or tokens from this address")
			return
		case refused:
			// Not Basic: browsers would open their own window over the page.
			w.Header().Set("WWW-Authenticate", `Bearer realm="lenscast"`)
			answer.Problem(w, http.StatusUnauthorized, "sign in, or send the viewer's token")
			return
		}
		if _, ok := bearer(r); ok && a.needed() {
			next.ServeHTTP(w, r)
			return
		}
		own.ServeHTTP(w, r)
	})
}

// page sends browsers that are not signed in to the login page. Browsers keep
// the #name of the address over it.
func (a *auth) page(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a.admit(r) != admitted {
			redirect(w, "login")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// signIn takes the login form and gives the cookie.
func (a *auth) signIn(pages *pages) http.Handler {
	wrong := pages.login(http.StatusUnauthorized, "That is not the password. Try again.")
	tooOften := pages.login(http.StatusTooManyRequests, "Too many wrong passwords. Wait ten seconds, then try again.")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !a.needed() {
			redirect(w, "./")
			return
		}
		switch a.check(r, r.PostFormValue("password"), a.form) {
		case refused:
			wrong.ServeHTTP(w, r)
		case throttled:
			retryAfter(w, guessInterval)
			tooOften.ServeHTTP(w, r)
		case admitted:
			a.cookie.set(w, time.Now())
			redirect(w, "./")
		}
	})
}

func (a *auth) signOut(w http.ResponseWriter, r *http.Request) {
	a.cookie.clear(w)
	redirect(w, "login")
}

// redirect leads on with GET. The address is relative to that of the request,
// so it is right behind a proxy that serves us below a path, too.
func redirect(w http.ResponseWriter, to string) {
	w.Header().Set("Location", to)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusSeeOther)
}

// cookie makes and checks the proof that a browser has signed in: the time at
// which it ends (Unix seconds) and a MAC of that.
type cookie struct {
	name   string // has the port in it: cookies don't tell ports apart
	key    []byte
	secure bool
}

func (c *cookie) set(w http.ResponseWriter, now time.Time) {
	end := strconv.FormatInt(now.Add(signInLasts).Unix(), 10)
	http.SetCookie(w, c.make(end+"."+c.mac(end), int(signInLasts.Seconds())))
}

func (c *cookie) clear(w http.ResponseWriter) {
	http.SetCookie(w, c.make("", -1))
}

func (c *cookie) make(value string, maxAge int) *http.Cookie {
	return &http.Cookie{
		Name: c.name, Value: value, Path: "/", MaxAge: maxAge,
		HttpOnly: true, Secure: c.secure, SameSite: http.SameSiteStrictMode,
	}
}

func (c *cookie) valid(r *http.Request, now time.Time) bool {
	got, err := r.Cookie(c.name)
	if err != nil {
		return false
	}
	end, mac, _ := strings.Cut(got.Value, ".")
	if !hmac.Equal([]byte(mac), []byte(c.mac(end))) {
		return false
	}
	seconds, err := strconv.ParseInt(end, 10, 64)
	return err == nil && now.Before(time.Unix(seconds, 0))
}

func (c *cookie) mac(end string) string {
	h := hmac.New(sha256.New, c.key)
	h.Write([]byte(end))
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}
