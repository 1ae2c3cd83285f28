package whip

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEndpoint(t *testing.T) {
	for _, tt := range []struct{ text, requests, shown string }{
		{"whip://a.example/cam/whip", "http://a.example/cam/whip", "http://a.example/cam/whip"},
		{"whips://a.example:8443/app/s?direction=whip&key=1", "https://a.example:8443/app/s?direction=whip&key=1", "https://a.example:8443/app/s"},
		{"https://a.example/0123456789abcdef0123456789abcdef/publish", "https://a.example/0123456789abcdef0123456789abcdef/publish", "https://a.example/0123.../publish"},
		{"http://[::1]:8889/x", "http://[::1]:8889/x", "http://[::1]:8889/x"},
	} {
		e, err := ParseEndpoint(tt.text)
		if err == nil {
			e, err = e.WithToken("hunter2")
		}
		if err != nil {
			t.Errorf("%s: %v", tt.text, err)
			continue
		}
		if e.url.String() != tt.requests || e.String() != tt.shown {
			t.Errorf("%s requests %s and shows %s", tt.text, e.url, e)
		}
		if s := fmt.Sprintf("%v %+v %#v", e, e, e); strings.Contains(s, "hunter2") || strings.Contains(s, "key=1") {
			t.Errorf("%s shows secrets: %s", tt.text, s)
		}
	}
	for _, text := range []string{"", "whip://", "whip:a", "rtp://a.example:1", "https://user:pass@a.example/", "https://a.example/#x", "https://a b/", "://"} {
		if e, err := ParseEndpoint(text); err == nil {
			t.Errorf("%q is taken for %s", text, e)
		} else if strings.Contains(err.Error(), "pass@") {
			t.Errorf("%q: the error tells the secret: %v", text, err)
		}
	}
	e, err := ParseEndpoint("whip://a.example/")
	if err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{"", "two words", "line\n", "ä"} {
		if _, err := e.WithToken(token); err == nil {
			t.Errorf("token %q is taken", token)
		}
	}
}

func TestWhereTheTokenGoes(t *testing.T) {
	for _, tt := range []struct {
		from, to string
		want     bool
	}{
		{"https://a.example/1", "https://a.example/2", true},
		{"https://a.example/1", "https://b.example/2", true},
		{"https://a.example/1", "http://a.example/2", false},
		{"http://a.example/1", "http://a.example:81/2", true},
		{"http://a.example/1", "https://A.example/2", true},
		{"http://a.example/1", "http://b.example/2", false},
		{"http://a.example/1", "https://b.example/2", false},
		{"http://localhost/1", "http://127.0.0.1:9/2", true},
		{"https://a.example/1", "http://localhost/2", false},
	} {
		from, _ := url.Parse(tt.from)
		to, _ := url.Parse(tt.to)
		if got := mayCarryToken(from, to); got != tt.want {
			t.Errorf("from %s to %s: %t", from, to, got)
		}
	}
}

func TestLinks(t *testing.T) {
	got := iceServers([]string{
		`<stun:stun.example.net>; rel="ice-server"`,
		`<turn:turn.example.net?transport=udp>; rel="ice-server"; username="user"; credential="my\"Pass,word;"; credential-type="password", ` +
			`<https://a.example/next>; rel=next,<turns:b.example>;rel=ice-server;username=u;credential=c`,
		`<turn:oauth.example>; rel="ice-server"; username="u"; credential="c"; credential-type="oauth"`,
		`<turn:nobody.example>; rel="ice-server"`,
		`<stun:x.example`, `nonsense`, `<>; rel="ice-server"`,
	})
	want := []ICEServer{
		{"stun:stun.example.net", "", ""},
		{"turn:turn.example.net?transport=udp", "user", `my"Pass,word;`},
		{"turns:b.example", "u", "c"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func FuzzLinks(f *testing.F) {
	f.Add(`<turn:turn.example.net?transport=udp>; rel="ice-server"; username="user"; credential="pass"; credential-type="password"`)
	f.Add(`<stun:a>;rel=ice-server,<stun:b>; rel = "ice-server"; x`)
	f.Add(`<stun:a>;rel="ice-server\`)
	f.Fuzz(func(t *testing.T, header string) {
		servers := iceServers([]string{header})
		if len(servers) > maxICEServers {
			t.Errorf("%d servers", len(servers))
		}
		for _, s := range servers {
			if strings.HasPrefix(s.URL, "turn") && (s.Username == "" || s.Credential == "") {
				t.Errorf("%+v", s)
			}
		}
	})
}
