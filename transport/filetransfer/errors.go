package filetransfer

import (
	"crypto/tls"
	"errors"
	"fmt"
	"time"
)

// Code says what kind of error the other side has met. PROTOCOL.md lists them
// with what a sender should do.
type Code string

// The codes.
const (
	CodeProtocol Code = "protocol"   // the other side does not keep to PROTOCOL.md
	CodeDenied   Code = "denied"     // no or wrong credentials
	CodeName     Code = "name"       // the name, camera, agent or id can't be used
	CodeTooLarge Code = "too large"  // larger than this receiver takes
	CodeFull     Code = "full"       // no room: disk or quota
	CodeBusy     Code = "busy"       // too many transfers now
	CodeTaken    Code = "taken over" // a newer connection sends the same file
	CodeCorrupt  Code = "corrupt"    // a frame's checksum is wrong
	CodeMismatch Code = "mismatch"   // the whole file's digest is wrong
	CodeSlow     Code = "slow"       // too little progress
	CodeStorage  Code = "storage"    // the receiver can't write
	CodeShutdown Code = "shutdown"   // the receiver stops
)

// Error is an answer of the other side, or of this side's own check, that ends
// the exchange of one file.
type Error struct {
	Code   Code
	Reason string // for people
	// RetryAfter is the least time to wait before another attempt, 0 when
	// the sender may choose.
	RetryAfter time.Duration
}

// Error returns code and reason.
func (e *Error) Error() string { return fmt.Sprintf("%s: %s", e.Code, e.Reason) }

// Permanent tells that another attempt can't end differently before a person
// has changed something.
func (e *Error) Permanent() bool {
	switch e.Code {
	case CodeProtocol, CodeDenied, CodeName, CodeTooLarge:
		return true
	default:
		return false
	}
}

// Permanent tells whether err is an [*Error] after which another attempt is
// useless. Everything else, a broken network first of all, may pass.
func Permanent(err error) bool {
	var e *Error
	var stranger *tls.CertificateVerificationError
	return errors.As(err, &e) && e.Permanent() || errors.As(err, &stranger) ||
		errors.Is(err, ErrChanged) || errors.Is(err, ErrInsecure)
}

// ErrChanged tells that the file to send changed while it was sent. What has
// arrived of it is not confirmed.
var ErrChanged = errors.New("the file changed while it was sent")

// ErrInsecure tells that a token would have crossed a network in the clear.
var ErrInsecure = errors.New("refusing to send the token without TLS beyond loopback")

func errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Reason: fmt.Sprintf(format, args...)}
}

// asError finds the [*Error] in err, or makes one of code.
func asError(err error, code Code) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Code: code, Reason: err.Error()}
}
