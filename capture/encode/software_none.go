//go:build !cgo || !((linux && (amd64 || arm64 || arm)) || (darwin && (amd64 || arm64)))

package encode

import "fmt"

// HaveSoftware says whether this build has the software encoder.
const HaveSoftware = false

// NewSoftware opens the software encoder. This build has none: openh264 is
// C++, which needs cgo and a platform that its library is shipped for.
func NewSoftware(Params) (Encoder, error) {
	return nil, fmt.Errorf("open software encoder: %w in this build (built without cgo)", ErrNoEncoder)
}
