#!/usr/bin/env bash
# Tries the object store of the receiver against real servers: MinIO, and the
# Versity S3 Gateway on a folder. They are built once, which takes some minutes,
# into $TESTBED (default ~/.cache/lenscast-testbed). Then 10,000 random
# schedules with two receivers, against a server in the test's own process.
set -euo pipefail
cd "$(dirname "$0")/../.."

bin=${TESTBED:-$HOME/.cache/lenscast-testbed}/bin
mkdir -p "$bin"
[ -x "$bin/minio" ] || GOBIN=$bin go install github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c
[ -x "$bin/versitygw" ] || GOBIN=$bin go install github.com/versity/versitygw/cmd/versitygw@v1.8.0

PATH=$bin:$PATH go test -count=1 -v -timeout 20m ./transport/filetransfer/s3store -run 'Test[^S]|TestStore|TestSweep' |
  grep -E '^( *---|ok|FAIL|panic)|keeps checksums'
LENSCAST_SCHEDULES=${1:-10000} go test -count=1 -v -timeout 30m ./transport/filetransfer/s3store -run TestSchedules
