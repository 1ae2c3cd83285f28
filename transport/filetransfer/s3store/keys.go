package s3store

import (
	"errors"
	"fmt"

	"github.com/minio/minio-go/v7/pkg/credentials"
)

// Keys are the credentials for a store.
type Keys struct {
	Access, Secret string
	Session        string // of temporary keys, else empty
}

// LoadKeys reads the profile "default", or what AWS_PROFILE names, of a
// credentials file as Amazon's tools have it. With an empty path it takes
// AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN.
func LoadKeys(path string) (Keys, error) {
	provider := credentials.NewEnvAWS()
	if path != "" {
		provider = credentials.NewFileAWSCredentials(path, "")
	}
	v, err := provider.GetWithContext(&credentials.CredContext{})
	if err != nil {
		return Keys{}, fmt.Errorf("read the object store's keys: %w", err)
	}
	if v.AccessKeyID == "" || v.SecretAccessKey == "" {
		return Keys{}, errors.New("no keys for the object store: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give a file with -store-keys")
	}
	return Keys{Access: v.AccessKeyID, Secret: v.SecretAccessKey, Session: v.SessionToken}, nil
}
