package webrtc_test

import (
	"fmt"
	"net"
	"regexp"
	"testing"

	"github.com/pion/turn/v5"

	lenscast "github.com/lenscast/lenscast/transport/webrtc"
)

// startTURN runs a TURN server on loopback until the test ends and returns its
// URL. It knows one user, "camera" with the password "secret".
func startTURN(t *testing.T) string {
	t.Helper()
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, err := turn.NewServer(turn.ServerConfig{
		Realm: "lenscast",
		AuthHandler: func(a *turn.RequestAttributes) (string, []byte, bool) {
			return a.Username, turn.GenerateAuthKey("camera", "lenscast", "secret"), a.Username == "camera"
		},
		PacketConnConfigs: []turn.PacketConnConfig{{
			PacketConn: conn,
			RelayAddressGenerator: &turn.RelayAddressGeneratorStatic{
				RelayAddress: net.IPv4(127, 0, 0, 1), Address: "127.0.0.1",
			},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return fmt.Sprintf("turn:%s?transport=udp", conn.LocalAddr())
}

// A viewer that knows no other way in than the relay plays.
func TestRelay(t *testing.T) {
	cam := newCamera()
	url := startTURN(t)
	_, web := startServer(t, cam, func(p *lenscast.ServerParams) {
		p.ICEServers = []lenscast.ICEServer{{URL: url, Username: "camera", Credential: "secret"}}
	})
	runCamera(t, cam, 5000, 60000, 60)
	v := watch(t, web, viewerOptions{candidates: regexp.MustCompile(` typ relay `)})
	if !regexp.MustCompile(`a=candidate:.* typ relay `).MatchString(v.answer) {
		t.Fatalf("the answer has no relayed candidate:\n%s", v.answer)
	}
	waitFor(t, "10 pictures", func() bool { n, _ := v.pictures(); return n >= 10 })
}
