package badger

import (
	"bufio"
	"encoding/binary"
	"errors"
	"hash"
	"hash/crc32"
	"io"
	"math"
	"os"
	"strconv"
)

// What Badger's log of a memory table looks like: a header, then entries of
// meta, user meta, length of key, length of value, expiry (the last three
// unsigned varints), key, value and CRC-32C. The last 8 bytes of a key are the
// complement of its transaction's version; a transaction ends with an entry
// whose value is that version as decimal digits.
const (
	walHeader   = 20
	walTxn      = 1 << 6
	walTxnEnd   = 1 << 7
	walMaxKey   = 1 << 16
	walMaxValue = memTableSize
)

// versionRange is what a log holds: the first and the last transaction, 0 when
// there is none.
type versionRange struct{ first, last uint64 }

// logVersions reads a log as Badger will: up to the first entry that is cut or
// damaged, whole transactions only.
func logVersions(name string) (versionRange, error) {
	f, err := os.Open(name)
	if err != nil {
		return versionRange{}, err
	}
	defer f.Close() // read only: nothing to lose
	if _, err := f.Seek(walHeader, io.SeekStart); err != nil {
		return versionRange{}, err
	}
	w := walReader{r: bufio.NewReaderSize(f, 1<<20), crc: crc32.New(castagnoli)}
	var r versionRange
	for {
		meta, key, value, err := w.entry()
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return r, nil
		}
		if err != nil {
			return versionRange{}, err
		}
		version := math.MaxUint64 - binary.BigEndian.Uint64(key[len(key)-8:])
		if meta&walTxnEnd != 0 {
			if string(value) != strconv.FormatUint(version, 10) {
				return r, nil
			}
		} else if meta&walTxn != 0 {
			continue // counts when its transaction ends
		}
		if r.first == 0 {
			r.first = version
		}
		r.last = max(r.last, version)
	}
}

// walReader reads entries and sums what it reads.
type walReader struct {
	r   *bufio.Reader
	crc hash.Hash32
	buf []byte
}

// ReadByte makes a walReader an io.ByteReader.
func (w *walReader) ReadByte() (byte, error) {
	b, err := w.r.ReadByte()
	if err == nil {
		w.crc.Write([]byte{b}) //nolint:errcheck // a hash never fails
	}
	return b, err
}

// entry reads the next entry; key and value hold until the one after. The end
// of the log, or damage, is io.EOF.
func (w *walReader) entry() (meta byte, key, value []byte, err error) {
	w.crc.Reset()
	if meta, err = w.ReadByte(); err != nil {
		return 0, nil, nil, err
	}
	if _, err = w.ReadByte(); err != nil {
		return 0, nil, nil, err
	}
	var sizes [3]uint64 // key, value, expiry
	for i := range sizes {
		if sizes[i], err = binary.ReadUvarint(w); err != nil {
			return 0, nil, nil, io.EOF // read errors show again at the next entry
		}
	}
	k, v := sizes[0], sizes[1]
	if k < 8 || k > walMaxKey || v > walMaxValue {
		return 0, nil, nil, io.EOF // behind the last entry there are zeros
	}
	if n := int(k + v); cap(w.buf) < n {
		w.buf = make([]byte, n)
	}
	b := w.buf[:k+v]
	if _, err = io.ReadFull(w.r, b); err != nil {
		return 0, nil, nil, err
	}
	w.crc.Write(b) //nolint:errcheck // a hash never fails
	var sum [4]byte
	if _, err = io.ReadFull(w.r, sum[:]); err != nil {
		return 0, nil, nil, err
	}
	if binary.BigEndian.Uint32(sum[:]) != w.crc.Sum32() {
		return 0, nil, nil, io.EOF
	}
	return meta, b[:k], b[k:], nil
}
