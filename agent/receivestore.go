package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/lenscast/lenscast/transport/filetransfer"
	"github.com/lenscast/lenscast/transport/filetransfer/dirstore"
)

// receiveStore is where "lenscast receive" keeps files.
type receiveStore interface {
	filetransfer.Store
	// Run removes what has expired, until ctx ends.
	Run(ctx context.Context) error
	Close() error
}

// storeOptions are the flags for an object store.
type storeOptions struct {
	url, keys, endpoint, region string
	plain                       bool
}

// openStore opens the folder or the bucket.
func (o *receiveOptions) openStore(ctx context.Context, log *slog.Logger) (receiveStore, error) {
	if o.store.url != "" {
		bucket, prefix, err := o.store.parse()
		if err != nil {
			return nil, err
		}
		return o.store.open(ctx, bucket, prefix, time.Duration(o.expire), log)
	}
	dir, err := dirstore.OpenDir(o.dir)
	if err != nil {
		return nil, fmt.Errorf("open folder: %w", err)
	}
	store, err := dirstore.New(dir, dirstore.Params{KeepFree: int64(o.keepFree), ExpirePartial: time.Duration(o.expire), Log: log})
	if err != nil {
		_ = dir.Close() // nothing was written
		return nil, err
	}
	return folderStore{store, dir}, nil
}

// folderStore is a store with the folder that it holds.
type folderStore struct {
	*dirstore.Store
	dir *dirstore.Dir
}

func (s folderStore) Close() error { return errors.Join(s.Store.Close(), s.dir.Close()) }

// parse returns the bucket and what is below it, and judges the endpoint.
func (o *storeOptions) parse() (bucket, prefix string, err error) {
	u, err := url.Parse(o.url)
	if err != nil || u.Scheme != "s3" || u.Host == "" || u.RawQuery != "" || u.User != nil {
		return "", "", usageError("-store %s is not like s3://BUCKET/PREFIX", o.url)
	}
	endpoint, err := url.Parse(o.endpoint)
	if err != nil {
		return "", "", usageError("-store-endpoint %s is not like https://HOST:PORT", o.endpoint)
	}
	if endpoint.Scheme == "http" && !o.plain && !loopbackName(endpoint.Hostname()) {
		return "", "", usageError("%s is not encrypted: use https, or -store-plain if that network is yours alone", o.endpoint)
	}
	return u.Host, strings.Trim(u.Path, "/"), nil
}

func loopbackName(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// lookupFolders returns the folders that looking up a name or a certificate
// authority may read in.
func lookupFolders() []string {
	folders := []string{"/etc"}
	// Often a link to a file that is replaced when the network changes.
	if target, err := filepath.EvalSymlinks("/etc/resolv.conf"); err == nil && !strings.HasPrefix(target, "/etc/") {
		folders = append(folders, filepath.Dir(target))
	}
	return folders
}
