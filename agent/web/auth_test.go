package web

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"
)

func TestSignIn(t *testing.T) {
	base := start(t, Params{Password: "correct horse", Token: "tool"})
	client := browser(t)

	res, _ := call(t, client, "GET", base+"/", "")
	if res.StatusCode != 303 || res.Header.Get("Location") != "login" {
		t.Fatalf("the page without sign-in: %d to %q", res.StatusCode, res.Header.Get("Location"))
	}
	res, body := call(t, client, "GET", base+"/login", "")
	if res.StatusCode != 200 || !strings.Contains(body, `type="password"`) {
		t.Fatalf("the login page: %d", res.StatusCode)
	}
	if res := signIn(t, client, base, "wrong"); res.StatusCode != 401 || len(res.Cookies()) > 0 {
		t.Fatalf("a wrong password: %d, cookies %v", res.StatusCode, res.Cookies())
	}
	res = signIn(t, client, base, "correct horse")
	if res.StatusCode != 303 || len(res.Cookies()) != 1 {
		t.Fatalf("the password: %d, cookies %v", res.StatusCode, res.Cookies())
	}
	c := res.Cookies()[0]
	if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Secure || c.MaxAge != 30*24*3600 {
		t.Errorf("cookie %v", c)
	}
	for _, path := range []string{"/", "/api/status", "/metrics"} {
		if res, _ := call(t, client, "GET", base+path, ""); res.StatusCode != 200 {
			t.Errorf("signed in, %s: %d", path, res.StatusCode)
		}
	}
	if _, body := call(t, client, "GET", base+"/", ""); !strings.Contains(body, "Sign out") {
		t.Error("the page has no way to sign out")
	}
	if res, _ := call(t, client, "POST", base+"/logout", ""); res.StatusCode != 303 {
		t.Errorf("sign out: %d", res.StatusCode)
	}
	if res, _ := call(t, client, "GET", base+"/api/status", ""); res.StatusCode != 401 {
		t.Errorf("signed out: %d", res.StatusCode)
	}
}

func TestTheFormWantsThePassword(t *testing.T) {
	base := start(t, Params{Password: "password", Token: "token"})
	if res := signIn(t, browser(t), base, "token"); res.StatusCode != 401 {
		t.Errorf("the token in the form: %d", res.StatusCode)
	}
	base = start(t, Params{Token: "token"})
	if res := signIn(t, browser(t), base, "token"); res.StatusCode != 303 {
		t.Errorf("the token, when there is no password: %d", res.StatusCode)
	}
}

func TestAuthorizationHeader(t *testing.T) {
	for _, c := range []struct {
		header string
		status int
	}{
		{"Bearer token", 201},
		{"bearer token", 201},
		{"Bearer password", 201},
		{"Basic OnRva2Vu", 201},            // ":token"
		{"Basic bWU6cGFzc3dvcmQ=", 201},    // "me:password"
		{"Basic bWU6cGFzc3dvcmQh", 401},    // "me:password!"
		{"Bearer tokenx", 401},             //
		{"Bearer ", 401},                   //
		{"Digest username=\"token\"", 401}, //
		{"token", 401},                     //
		{"Basic not-base64-\x7f\xff", 401}, //
		{"Bearer " + strings.Repeat("x", 9000), 401},
	} {
		res := ask(t, Params{Password: "password", Token: "token"}, c.header)
		if res.Code != c.status {
			t.Errorf("%.30q: %d, want %d", c.header, res.Code, c.status)
		}
		if res.Code == 401 && !strings.HasPrefix(res.Header().Get("WWW-Authenticate"), "Bearer") {
			t.Errorf("%.30q: the challenge is %q", c.header, res.Header().Get("WWW-Authenticate"))
		}
	}
}

// ask posts with an Authorization header to a handler of its own: wrong
// guesses are counted.
func ask(t *testing.T, p Params, header string) *httptest.ResponseRecorder {
	t.Helper()
	a, err := newAuth(p.Password, p.Token)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("POST", "/whep/test", nil)
	r.Header.Set("Authorization", header)
	w := httptest.NewRecorder()
	a.require(created).ServeHTTP(w, r)
	return w
}

var created = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusCreated) })

func TestCookie(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	request := func(c *cookie, edit func(string) string) *http.Request {
		w := httptest.NewRecorder()
		c.set(w, now)
		got := w.Result().Cookies()[0]
		r := httptest.NewRequest("GET", "/", nil)
		r.AddCookie(&http.Cookie{Name: got.Name, Value: edit(got.Value)})
		return r
	}
	same := func(v string) string { return v }
	a, _ := newAuth("one", "")
	b, _ := newAuth("two", "")
	a.cookie.name, b.cookie.name = "c", "c"
	for what, c := range map[string]struct {
		of    *auth
		at    time.Time
		edit  func(string) string
		valid bool
	}{
		"as given":          {a, now, same, true},
		"just before end":   {a, now.Add(signInLasts - time.Second), same, true},
		"at the end":        {a, now.Add(signInLasts), same, false},
		"other password":    {b, now, same, false},
		"end put off":       {a, now, func(v string) string { return "9" + v }, false},
		"no MAC":            {a, now, func(v string) string { v, _, _ = strings.Cut(v, "."); return v }, false},
		"other MAC":         {a, now, func(v string) string { return v[:len(v)-2] + "AA" }, false},
		"empty":             {a, now, func(string) string { return "" }, false},
		"signed by nothing": {a, now, func(string) string { return "." }, false},
	} {
		if got := c.of.cookie.valid(request(&a.cookie, c.edit), c.at); got != c.valid {
			t.Errorf("%s: %v", what, got)
		}
	}
}

func TestGuessesAreLimitedPerAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, err := newAuth("password", "")
		if err != nil {
			t.Fatal(err)
		}
		guess := func(password, address string) verdict {
			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr = address
			r.SetBasicAuth("me", password)
			return a.admit(r)
		}
		for range 20 { // right ones are not counted
			if got := guess("password", "192.0.2.1:1000"); got != admitted {
				t.Fatalf("the password: %v", got)
			}
		}
		for i := range guessBurst {
			if got := guess("wrong", "192.0.2.1:1000"); got != refused {
				t.Fatalf("guess %d: %v", i, got)
			}
		}
		if got := guess("password", "192.0.2.1:2000"); got != throttled {
			t.Errorf("the password after too many guesses: %v", got)
		}
		if got := guess("password", "192.0.2.2:1000"); got != admitted {
			t.Errorf("from another address: %v", got)
		}
		time.Sleep(guessInterval)
		if got := guess("password", "192.0.2.1:1000"); got != admitted {
			t.Errorf("after a while: %v", got)
		}
	})
}

func TestCrossOrigin(t *testing.T) {
	for _, p := range []Params{{}, {Password: "password", Token: "token"}} {
		base := start(t, p)
		client := browser(t)
		if p.Password != "" {
			signIn(t, client, base, p.Password)
		}
		host := strings.TrimPrefix(base, "http://")
		for _, c := range []struct {
			headers []string
			status  int
		}{
			{nil, 201}, // a tool
			{[]string{"Sec-Fetch-Site: same-origin", "Origin: " + base}, 201},
			{[]string{"Origin: http://" + host}, 201}, // over http browsers send no Sec-Fetch-Site
			{[]string{"Sec-Fetch-Site: cross-site", "Origin: https://evil.example"}, 403},
			{[]string{"Sec-Fetch-Site: same-site", "Origin: http://localhost:1"}, 403},
			{[]string{"Origin: https://evil.example"}, 403},
			{[]string{"Origin: null"}, 403},
		} {
			for _, method := range []string{"POST", "PATCH", "DELETE"} {
				res, _ := call(t, client, method, base+"/whep/test", "", c.headers...)
				if res.StatusCode != c.status {
					t.Errorf("password %q, %s with %q: %d, want %d", p.Password, method, c.headers, res.StatusCode, c.status)
				}
			}
		}
		bearer := []string{"Authorization: Bearer token", "Sec-Fetch-Site: cross-site", "Origin: https://player.example"}
		want := 201
		if p.Token == "" {
			want = 403 // nobody asks for a token here: the header proves nothing
		}
		if res, _ := call(t, browser(t), "POST", base+"/whep/test", "", bearer...); res.StatusCode != want {
			t.Errorf("password %q, a bearer token of another origin: %d, want %d", p.Password, res.StatusCode, want)
		}
	}
}

func TestLoginAndLogoutWantOurOwnForm(t *testing.T) {
	base := start(t, Params{Password: "password"})
	client := browser(t)
	if res := signIn(t, client, base, "password", "Origin: https://evil.example"); res.StatusCode != 403 {
		t.Errorf("sign in: %d", res.StatusCode)
	}
	signIn(t, client, base, "password")
	if res, _ := call(t, client, "POST", base+"/logout", "", "Origin: https://evil.example"); res.StatusCode != 403 {
		t.Errorf("sign out: %d", res.StatusCode)
	}
}

func TestLoopbackAnswersToItsOwnNamesOnly(t *testing.T) {
	base := start(t, Params{})
	for host, status := range map[string]int{
		"localhost": 200, "LOCALHOST:8080": 200, "camera.localhost": 200, "127.0.0.1:8080": 200, "127.8.9.1": 200,
		"[::1]:8080": 200, "localhost.": 200,
		"rebound.example": 421, "127.0.0.1.example": 421, "192.168.1.7": 421, "localhost.example": 421, "notlocalhost": 421,
	} {
		if res, _ := call(t, browser(t), "GET", base+"/api/status", "", "Host: "+host); res.StatusCode != status {
			t.Errorf("host %q: %d, want %d", host, res.StatusCode, status)
		}
	}
	// With a password the name does not matter: a foreign one has no cookie.
	base = start(t, Params{Password: "password"})
	if res, _ := call(t, browser(t), "GET", base+"/login", "", "Host: camera.example"); res.StatusCode != 200 {
		t.Errorf("with a password: %d", res.StatusCode)
	}
}

func TestUnsafeRequestsAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := limitUnsafe(created)
		do := func(method, address string) int {
			r := httptest.NewRequest(method, "/whep/test", nil)
			r.RemoteAddr = address
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code == 429 && w.Header().Get("Retry-After") == "" {
				t.Error("429 without Retry-After")
			}
			return w.Code
		}
		for i := range unsafeBurst {
			if code := do("POST", "192.0.2.1:1"); code != 201 {
				t.Fatalf("request %d: %d", i, code)
			}
		}
		if code := do("POST", "192.0.2.1:2"); code != 429 {
			t.Errorf("one too many: %d", code)
		}
		if code := do("GET", "192.0.2.1:2"); code != 201 {
			t.Errorf("a harmless one: %d", code)
		}
		if code := do("POST", "[2001:db8::1]:1"); code != 201 {
			t.Errorf("another address: %d", code)
		}
		time.Sleep(time.Second)
		if code := do("POST", "192.0.2.1:1"); code != 201 {
			t.Errorf("a second later: %d", code)
		}
	})
}

func TestNetwork(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.1:80":              "192.0.2.1/32",
		"[::ffff:192.0.2.1]:80":     "192.0.2.1/32",
		"[2001:db8:1:2:3:4:5:6]:80": "2001:db8:1:2::/64",
		"[fe80::1%eth0]:80":         "fe80::/64",
		"@":                         "invalid Prefix",
	} {
		if got := network(remote).String(); got != want {
			t.Errorf("%s: %s, want %s", remote, got, want)
		}
	}
}

func TestLimiterIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(1, 1)
		r := httptest.NewRequest("POST", "/", nil)
		bucket := func(i int) *rate.Limiter {
			r.RemoteAddr = fmt.Sprintf("10.%d.%d.%d:1", i>>16, i>>8&255, i&255)
			return l.bucket(r)
		}
		busy := bucket(0)
		busy.Allow()
		for i := range 3 * maxAddresses {
			bucket(i)
			if len(l.buckets) > maxAddresses {
				t.Fatalf("%d buckets", len(l.buckets))
			}
		}
		if bucket(0) != busy {
			t.Error("an address that is limited was forgotten while there were idle ones")
		}
		for i := range 3 * maxAddresses { // all of them busy
			bucket(i).Allow()
			if len(l.buckets) > maxAddresses {
				t.Fatalf("%d buckets", len(l.buckets))
			}
		}
	})
}
