// Package filetransfer carries finished files to a receiver and knows for sure
// when they have arrived.
//
// PROTOCOL.md beside this code is the protocol's definition. In short: a
// [Sender] says what it has, the [Receiver] answers from where it wants it, the
// content follows in checksummed frames, and the receiver confirms only after
// the whole file is verified, on its disk and visible under its name. Whatever
// breaks in between costs the bytes since the last checkpoint and nothing else.
// Until [Sender.Send] has returned a [Receipt] the caller must keep its file.
//
// The receiver keeps files in a [Store]; package dirstore has the one that is a
// folder. Names are judged by package safename.
//
// [SendLegacy] and a receiver with Legacy set speak the older exchange that
// some peers still know. It confirms nothing, so it gives no Receipt.
//
// Both sides are in one package, because they share the frames, the errors and
// their codes, which only they should know how to write: a quarter of the names
// here are those codes.
package filetransfer

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"time"
)

// Digest is a SHA-256. Its text form is lower-case hexadecimal.
type Digest [sha256.Size]byte

// String returns the digest as sha256sum prints it.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// MarshalText returns the digest in hexadecimal.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText takes 64 hexadecimal digits.
func (d *Digest) UnmarshalText(text []byte) error {
	if len(text) != 2*len(d) {
		return fmt.Errorf("SHA-256 has %d characters, %d are needed", len(text), 2*len(d))
	}
	_, err := hex.Decode(d[:], text)
	return err
}

// File describes a file to a receiver and its store.
type File struct {
	// Agent is the name of the machine that sends, as the receiver has
	// authorised it.
	Agent string
	// ID is the sender's own name for this file: the same for every attempt
	// to send it, and never used for another. 8 to 64 characters of 0-9,
	// a-z and "-".
	ID string
	// Name is the file's base name, safe by package safename.
	Name string
	// Camera is the folder below the agent's; empty for none.
	Camera string
	// Size is in bytes; -1 when unknown, as it is in the legacy exchange.
	Size int64
	// Modified is the time of the last change. It gives the date folder.
	Modified time.Time
	// SHA256 is the digest of the whole content, nil while unknown.
	SHA256 *Digest
}

// Receipt is the receiver's word that a file is on its disk, verified.
type Receipt struct {
	// Name is where the receiver has put the file, below its folder. It
	// differs from what was asked for when another file had that name.
	Name string
	// SHA256 is the digest of what the receiver has.
	SHA256 Digest
}

// Store is where a receiver keeps files. Its methods are called from several
// goroutines, but never twice at once for the same agent and ID. Errors that
// the sender should know apart are of type [*Error]; any other is reported as
// [CodeStorage].
type Store interface {
	// Find tells whether the store has confirmed this very file before.
	Find(ctx context.Context, f File) (Receipt, bool, error)

	// Open begins to take f, where the last attempt's checkpoint was or at
	// the beginning. limit is the most bytes that the agent may keep in the
	// store, f included; 0 is no limit.
	Open(ctx context.Context, f File, limit int64) (Incoming, error)
}

// Incoming is a file on its way into a [Store].
type Incoming interface {
	// Resume returns from which byte on the content is wanted, and the
	// state of the hash up to there as Checkpoint was given it. It is
	// called once, before anything else.
	Resume() (offset int64, state []byte)

	// Write appends p to the content.
	Write(p []byte) (int, error)

	// Checkpoint makes the content before offset, all of it written, last
	// through a power cut, together with state. Write may be called while
	// it runs.
	Checkpoint(offset int64, state []byte) error

	// Commit makes the file durable and visible, never in the place of
	// another. The content has the digest sum.
	Commit(ctx context.Context, sum Digest) (Receipt, error)

	// Close ends the work on the file and keeps what the last checkpoint
	// covers. It is called last in any case, also after Commit.
	Close() error

	// Discard throws away what has come so far, checkpoints too.
	Discard() error
}

// Stepped is an [Incoming] that can make content durable at certain offsets
// only. Checkpoint is called for these and no other.
type Stepped interface {
	Incoming

	// Step returns what the offsets are multiples of, in bytes, above 0.
	Step() int64
}

// Progress is how far a file has got.
type Progress struct {
	File     string // its name
	Agent    string // who sends it
	Remote   string // the other side's address
	Size     int64  // in bytes, -1 when unknown
	Resumed  int64  // bytes that were there before this attempt
	Sent     int64  // bytes sent or received so far, Resumed included
	Durable  int64  // bytes that survive a power cut of the receiver
	Checking bool   // true while the sender re-reads its own file, not sending
}

// hashStateBytes is the length of a marshalled crypto/sha256 state: a magic of
// 4 bytes, the state proper, one block, and the number of bytes hashed.
const hashStateBytes = 4 + sha256.Size + sha256.BlockSize + 8

// CheckHashState returns an error unless state is a SHA-256 state after offset
// bytes, as [Incoming.Checkpoint] gets it.
func CheckHashState(offset int64, state []byte) error {
	h, ok := sha256.New().(interface{ UnmarshalBinary([]byte) error })
	if !ok {
		return errors.New("this SHA-256 can't be resumed")
	}
	if len(state) != hashStateBytes {
		return fmt.Errorf("hash state has %d bytes, %d are needed", len(state), hashStateBytes)
	}
	if err := h.UnmarshalBinary(state); err != nil {
		return err
	}
	if n := binary.BigEndian.Uint64(state[len(state)-8:]); n != uint64(offset) {
		return fmt.Errorf("hash state is of %d bytes, not of %d", n, offset)
	}
	return nil
}
