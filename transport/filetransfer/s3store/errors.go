package s3store

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/lenscast/lenscast/transport/filetransfer"
)

const (
	// fullRetry is what a sender should wait when there is no room.
	fullRetry = 5 * time.Minute
	// goneRetry is what it should wait when the store does not answer.
	goneRetry = 10 * time.Second
)

// errCondition tells that If-Match or If-None-Match did not hold.
var errCondition = errors.New("another object is there")

// wrap adds to an error of the store what was done to which object. What
// callers tell apart wraps [fs.ErrNotExist] or errCondition.
func wrap(verb, name string, err error) error {
	if err == nil {
		return nil
	}
	switch e := minio.ToErrorResponse(err); {
	case e.Code == minio.NoSuchKey, e.Code == minio.NoSuchUpload:
		err = fmt.Errorf("%w (%w)", fs.ErrNotExist, err)
	case e.StatusCode == http.StatusPreconditionFailed, e.Code == minio.PreconditionFailed,
		// Two conditional requests at the same moment: Amazon.
		e.Code == "ConditionalRequestConflict":
		err = fmt.Errorf("%w (%w)", errCondition, err)
	}
	return fmt.Errorf("%s %s: %w", verb, name, err)
}

// explain turns errors that people or senders should know apart into what they
// are told.
func explain(err error) error {
	var said *filetransfer.Error
	if err == nil || errors.As(err, &said) {
		return err
	}
	var answer minio.ErrorResponse
	if !errors.As(err, &answer) {
		if network(err) {
			return &filetransfer.Error{
				Code: filetransfer.CodeBusy, RetryAfter: goneRetry,
				Reason: fmt.Sprintf("the object store does not answer: %v", err),
			}
		}
		return err
	}
	code, reason, wait := filetransfer.CodeStorage, "", time.Duration(0)
	switch answer.Code {
	case minio.NoSuchBucket:
		reason = "the bucket does not exist, make it or name another"
	case minio.AccessDenied, minio.InvalidAccessKeyID, minio.SignatureDoesNotMatch, "ExpiredToken", "InvalidToken",
		"AllAccessDisabled", "AuthorizationHeaderMalformed":
		reason = "the object store refuses the receiver's keys (or its region is another)"
	case minio.RequestTimeTooSkewed:
		reason = "the receiver's clock is wrong by more than the object store allows, set it"
	case "QuotaExceeded", "XMinioAdminBucketQuotaExceeded", "XMinioStorageFull", "InsufficientStorage", "ServiceQuotaExceeded":
		code, reason, wait = filetransfer.CodeFull, "the object store is full", fullRetry
	}
	switch {
	case reason != "":
	case answer.StatusCode == http.StatusInsufficientStorage:
		code, reason, wait = filetransfer.CodeFull, "the object store is full", fullRetry
	case answer.StatusCode == http.StatusTooManyRequests, answer.StatusCode >= 500:
		code, reason, wait = filetransfer.CodeBusy, "the object store can't serve now", goneRetry
	default:
		return err
	}
	return &filetransfer.Error{Code: code, RetryAfter: wait, Reason: fmt.Sprintf("%s: %v", reason, err)}
}

// network tells whether the error is of the way to the store, or of its end.
func network(err error) bool {
	var e net.Error
	return errors.As(err, &e)
}
