package main

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/lenscast/lenscast/agent/recording/archive"
	"github.com/lenscast/lenscast/transport/filetransfer"
	"github.com/lenscast/lenscast/transport/filetransfer/plainfile"
)

// transferGC returns by how many percent the heap may grow until garbage is
// collected (debug.SetGCPercent) with n connections, 1 or more: by about the same
// amount however many there are. What is in it are buffers, which stay; with many
// connections they are most of the memory, with few hardly any.
func transferGC(n int) int { return min(max(1000/n, 25), 100) }

const (
	maxParallel = 64 // what a receiver takes from one address
	// maxUsual is how many small files are sent at the same time unless told: 16
	// took 3 % less time than 8 in memory with recordings of 100 KiB, 8 % with
	// other files, and leaves room for others behind the same address.
	maxUsual = 16
	// parallelBytes is the content that is sent at the same time, unless one
	// file alone has more.
	parallelBytes = 32 << 20
	// allBuffers is the memory for content of all files that are sent at the
	// same time, oneBuffer the most for one of them.
	allBuffers = 4 << 20
	oneBuffer  = 512 << 10
)

// usualParallel returns how many of the files to send at the same time: enough
// of the small ones that confirming them does not take longer than sending.
func usualParallel(files []string) int {
	var bytes int64
	for _, path := range files {
		if info, err := os.Stat(path); err == nil { // else sending it will tell
			bytes += info.Size()
		}
	}
	mean := max(bytes/int64(len(files)), 1)
	return int(min(max(parallelBytes/mean, 1), maxUsual))
}

// mismatched tells that the content has another digest than was announced.
func mismatched(err error) bool {
	var said *filetransfer.Error
	return errors.As(err, &said) && said.Code == filetransfer.CodeMismatch
}

// maxDescription bounds what is read of a recording's description.
const maxDescription = 1 << 20

// recordedDigest returns the SHA-256 that was taken while the file at path was
// recorded, nil when it is no recording with a description beside it. The
// receiver compares it with what it gets.
func recordedDigest(path string, size int64) *filetransfer.Digest {
	file, err := plainfile.Open(strings.TrimSuffix(path, filepath.Ext(path)) + ".json")
	if err != nil {
		return nil
	}
	defer func() { _ = file.Close() }() // opened for reading: nothing to lose
	var info archive.Info
	var digest filetransfer.Digest
	if json.NewDecoder(io.LimitReader(file, maxDescription)).Decode(&info) != nil ||
		info.Size != size || digest.UnmarshalText([]byte(info.SHA256)) != nil {
		return nil
	}
	return &digest
}

// openHashes lets a large upload remember its hash between runs, in the user's
// cache. forget ends that, for good once the file is confirmed.
func openHashes(u *filetransfer.Upload) (forget func(confirmed bool), err error) {
	forget = func(bool) {}
	if u.File.Size <= filetransfer.HashStep || u.File.SHA256 != nil {
		return forget, nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return forget, err
	}
	dir := filepath.Join(cache, "lenscast", "send")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return forget, err
	}
	path := filepath.Join(dir, u.File.ID+".hashes")
	hashes, err := filetransfer.OpenHashLog(path)
	if err != nil {
		return forget, err
	}
	u.Hashes = hashes
	return func(confirmed bool) {
		_ = hashes.Close() // what it lacks costs time, not correctness
		if confirmed {
			_ = os.Remove(path) // likewise: it is only in the way
		}
	}, nil
}
