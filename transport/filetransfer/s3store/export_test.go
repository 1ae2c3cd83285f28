package s3store

// Checksums tells whether the store was found to keep checksums.
func (s *Store) Checksums() bool { return s.b.checksums }
