//go:build !nos3

package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/lenscast/lenscast/transport/filetransfer/s3store"
)

// open opens the bucket after it has tried it.
func (o *storeOptions) open(ctx context.Context, bucket, prefix string, expire time.Duration, log *slog.Logger) (receiveStore, error) {
	keys, err := s3store.LoadKeys(o.keys)
	if err != nil {
		return nil, err
	}
	region := o.region
	if region == "" && o.endpoint != "" {
		region = "us-east-1" // what stores of other makers expect when they have none
	}
	store, err := s3store.New(ctx, s3store.Params{
		Bucket: bucket, Prefix: prefix, Endpoint: o.endpoint, Region: region, Keys: keys, ExpirePartial: expire, Log: log,
	})
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", o.url, uncoded(err))
	}
	return bucketStore{store}, nil
}

// bucketStore is a store that there is nothing to close of.
type bucketStore struct{ *s3store.Store }

func (bucketStore) Close() error { return nil }
