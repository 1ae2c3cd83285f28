package filetransfer

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// KeyDigest returns the SHA-256 of the certificate's public key
// (SubjectPublicKeyInfo): it stays the same when the certificate is renewed.
func KeyDigest(cert *x509.Certificate) Digest {
	return sha256.Sum256(cert.RawSubjectPublicKeyInfo)
}

// pinPrefix is how curl and others write a pinned key: sha256//BASE64.
const pinPrefix = "sha256//"

// FormatPin returns key as ParsePin reads it.
func FormatPin(key Digest) string {
	return pinPrefix + base64.StdEncoding.EncodeToString(key[:])
}

// ParsePin reads a pinned key: "sha256//" and the base64 of its digest.
func ParsePin(pin string) (Digest, error) {
	var key Digest
	text, ok := strings.CutPrefix(pin, pinPrefix)
	raw, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil || len(raw) != len(key) {
		return key, fmt.Errorf("key pin %.80q is not %s and 44 characters of base64", pin, pinPrefix)
	}
	copy(key[:], raw)
	return key, nil
}

// PinnedTLS returns a client configuration that trusts the one public key with
// the digest key, whoever signed its certificate and whatever name is in it.
func PinnedTLS(key Digest) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		// The chain is not looked at: VerifyConnection decides, and runs on
		// resumed sessions too.
		InsecureSkipVerify: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			if len(state.PeerCertificates) == 0 {
				return errors.New("the receiver showed no certificate")
			}
			if got := KeyDigest(state.PeerCertificates[0]); got != key {
				return &tls.CertificateVerificationError{
					UnverifiedCertificates: state.PeerCertificates,
					Err:                    fmt.Errorf("the receiver's key is %s, not the pinned %s", FormatPin(got), FormatPin(key)),
				}
			}
			return nil
		},
	}
}
