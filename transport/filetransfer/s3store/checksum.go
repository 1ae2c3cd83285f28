package s3store

import (
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
)

// castagnoli is of CRC-32C, the one checksum of S3 that most machines compute by
// an instruction, and whose value of a whole the store can tell from those of
// the parts.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encodeCRC returns the checksum as headers have it.
func encodeCRC(crc uint32) string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, crc))
}
