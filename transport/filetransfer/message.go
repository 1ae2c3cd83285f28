package filetransfer

import (
	"cmp"
	"encoding/json"
	"fmt"
	"time"

	"github.com/lenscast/lenscast/transport/filetransfer/safename"
)

// The payload of every frame but DATA is one of these as a JSON object.
// Members that a side does not know it ignores.

// hello opens the exchange of one file.
type hello struct {
	Agent    string    `json:"agent"`
	Token    string    `json:"token,omitempty"`
	File     string    `json:"file"`
	Name     string    `json:"name"`
	Camera   string    `json:"camera,omitempty"`
	Size     int64     `json:"size"`
	Modified time.Time `json:"modified"`
	SHA256   *Digest   `json:"sha256,omitempty"`
	// Early says that the content and END follow without waiting for the
	// OFFER.
	Early bool `json:"early,omitempty"`
}

// check judges everything a stranger could have made up.
func (h *hello) check() error {
	if err := safename.Check(h.Agent); err != nil {
		return errorf(CodeName, "agent: %v", err)
	}
	if err := safename.Check(h.Name); err != nil {
		return errorf(CodeName, "%v", err)
	}
	if h.Camera != "" {
		if err := safename.Check(h.Camera); err != nil {
			return errorf(CodeName, "camera: %v", err)
		}
	}
	if !validID(h.File) {
		return errorf(CodeName, "file id %.80q is not 8 to 64 characters of 0-9, a-z and -", h.File)
	}
	if h.Size < 0 {
		return errorf(CodeProtocol, "size %d is negative", h.Size)
	}
	if h.Early && h.Size > earlyBytes {
		return errorf(CodeProtocol, "%d bytes come early, %d are allowed", h.Size, earlyBytes)
	}
	if y := h.Modified.UTC().Year(); y < 1970 || y > 9999 {
		return errorf(CodeProtocol, "modified: the year %d is out of range", y)
	}
	return nil
}

func validID(id string) bool {
	if len(id) < 8 || len(id) > 64 || id[0] == '-' {
		return false
	}
	for i := range len(id) {
		c := id[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && c != '-' {
			return false
		}
	}
	return true
}

func (h *hello) file() File {
	return File{
		Agent: h.Agent, ID: h.File, Name: h.Name, Camera: h.Camera,
		Size: h.Size, Modified: h.Modified.UTC(), SHA256: h.SHA256,
	}
}

// offerState is the receiver's answer to a hello.
type offerState string

const (
	offerNew     offerState = "new"     // send all of it
	offerPartial offerState = "partial" // send it from offset on
	offerHave    offerState = "have"    // it is here, verified: as good as DONE
	offerBusy    offerState = "busy"    // later
	offerFull    offerState = "full"    // no room
	offerDenied  offerState = "denied"  // never: code tells why
)

type offer struct {
	State  offerState `json:"state"`
	Offset int64      `json:"offset,omitempty"`
	Code   Code       `json:"code,omitempty"`
	Reason string     `json:"reason,omitempty"`
	// RetrySeconds is with busy and full.
	RetrySeconds int `json:"retry_seconds,omitempty"`
	// Name and SHA256 are with have.
	Name   string  `json:"name,omitempty"`
	SHA256 *Digest `json:"sha256,omitempty"`
	// Early is the size of the largest file whose content may come early from
	// now on.
	Early int64 `json:"early,omitempty"`
}

// maxRetry bounds what a receiver can make a sender wait.
const maxRetry = time.Hour

// check judges an offer for a file of size bytes.
func (o *offer) check(size int64) error {
	switch o.State {
	case offerNew:
		if o.Offset != 0 {
			return errorf(CodeProtocol, "offer of a new file from %d on", o.Offset)
		}
	case offerPartial:
		if o.Offset < 0 || o.Offset > size {
			return errorf(CodeProtocol, "offer from %d on, the file has %d bytes", o.Offset, size)
		}
	case offerHave:
		if o.SHA256 == nil {
			return errorf(CodeProtocol, "offer says have without a SHA-256")
		}
	case offerBusy, offerFull, offerDenied:
		if o.RetrySeconds < 0 || o.RetrySeconds > int(maxRetry/time.Second) {
			return errorf(CodeProtocol, "offer asks to wait %d s", o.RetrySeconds)
		}
	default:
		return errorf(CodeProtocol, "unknown offer %.20q", o.State)
	}
	return nil
}

// refusal returns the error that the offer stands for, nil when it is none.
func (o *offer) refusal() *Error {
	e := &Error{Code: o.Code, Reason: o.Reason, RetryAfter: time.Duration(o.RetrySeconds) * time.Second}
	switch o.State {
	case offerBusy:
		e.Code = cmp.Or(e.Code, CodeBusy)
	case offerFull:
		e.Code = CodeFull
	case offerDenied:
		e.Code = cmp.Or(e.Code, CodeDenied)
	default:
		return nil
	}
	return e
}

// refuse makes the offer that says err.
func refuse(err *Error) offer {
	o := offer{Code: err.Code, Reason: err.Reason, RetrySeconds: int(min(err.RetryAfter, maxRetry) / time.Second)}
	switch err.Code {
	case CodeBusy, CodeShutdown, CodeStorage, CodeTaken:
		o.State = offerBusy
	case CodeFull:
		o.State = offerFull
	default:
		o.State = offerDenied
	}
	return o
}

// ack tells what is durable. It also says that the receiver lives.
type ack struct {
	Offset int64 `json:"offset"`
}

// end follows the last DATA frame.
type end struct {
	SHA256 *Digest `json:"sha256"`
}

// done confirms.
type done struct {
	Name   string  `json:"name"`
	SHA256 *Digest `json:"sha256"`
}

// failure ends the exchange of a file, from either side.
type failure struct {
	Code   Code   `json:"code"`
	Reason string `json:"reason"`
}

// encodeMessage appends m to buf.
func encodeMessage(buf []byte, m any) ([]byte, error) {
	payload, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode message: %w", err)
	}
	if len(payload) > maxMessage {
		return nil, errorf(CodeProtocol, "message of %d bytes, %d are allowed", len(payload), maxMessage)
	}
	return append(buf, payload...), nil
}

// decodeMessage fills m from a frame of type t.
func decodeMessage(t frameType, payload []byte, m any) error {
	if err := json.Unmarshal(payload, m); err != nil {
		return errorf(CodeProtocol, "%v frame: %v", t, err)
	}
	return nil
}

// decodeFailure returns the error that an ERROR frame carries.
func decodeFailure(payload []byte) error {
	var f failure
	if err := decodeMessage(frameError, payload, &f); err != nil {
		return err
	}
	return &Error{Code: f.Code, Reason: f.Reason}
}
