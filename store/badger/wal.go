package badger

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"

	"github.com/cairn-p2p/cairn/types"
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
// damaged, whole transactions only. A crash can leave one transaction, the last,
// in part; where a later one follows the damage, acknowledged events would be
// lost, and the error is types.ErrCorrupt. before is the last transaction of the
// files before.
func logVersions(name string, before uint64) (versionRange, error) {
	r, at, err := soundVersions(name)
	if err != nil {
		return r, fmt.Errorf("%w: %s: %w", types.ErrStore, filepath.Base(name), err)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return r, fmt.Errorf("%w: %w", types.ErrStore, err)
	}
	last := max(before, r.last)
	rest := bytes.TrimRight(b[min(at, len(b)):], "\x00")
	for i := range rest {
		if version := entryVersion(rest[i:]); version > last+1 {
			return r, corrupt("%s is damaged behind transaction %d, and goes on with %d", filepath.Base(name), last, version)
		}
	}
	return r, nil
}

// entryVersion returns the version of the transaction of the entry at the front
// of b, 0 if there is no whole one.
func entryVersion(b []byte) uint64 {
	const least = 2 + 3 + 9 + crc32.Size // of meta, sizes, a key and its sum
	if len(b) < least {
		return 0
	}
	at := 2
	var sizes [3]uint64
	for i := range sizes {
		n, k := binary.Uvarint(b[at:])
		if k <= 0 {
			return 0
		}
		sizes[i], at = n, at+k
	}
	k, v := sizes[0], sizes[1]
	if k <= 8 || k > walMaxKey || v > walMaxValue || uint64(len(b)-at) < k+v+crc32.Size {
		return 0
	}
	end := at + int(k+v)
	if binary.BigEndian.Uint32(b[end:]) != crc32.Checksum(b[:end], castagnoli) {
		return 0
	}
	return math.MaxUint64 - binary.BigEndian.Uint64(b[at+int(k)-8:])
}

// soundVersions is logVersions without a look behind the first damage, where at
// is or a little after.
func soundVersions(name string) (r versionRange, at int, err error) {
	f, err := os.Open(name)
	if err != nil {
		return r, 0, err
	}
	defer f.Close() // read only: nothing to lose
	if _, err := f.Seek(walHeader, io.SeekStart); err != nil {
		return r, 0, err
	}
	w := walReader{r: bufio.NewReaderSize(f, 1<<20), crc: crc32.New(castagnoli)}
	at = walHeader
	for {
		meta, key, value, err := w.entry()
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return r, at, nil
		}
		if err != nil {
			return r, at, err
		}
		at += w.read
		version := math.MaxUint64 - binary.BigEndian.Uint64(key[len(key)-8:])
		if meta&walTxnEnd != 0 {
			if string(value) != strconv.FormatUint(version, 10) {
				return r, at, nil
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

	read int // bytes of the last entry
}

// ReadByte makes a walReader an io.ByteReader.
func (w *walReader) ReadByte() (byte, error) {
	b, err := w.r.ReadByte()
	if err == nil {
		w.read++
		w.crc.Write([]byte{b}) //nolint:errcheck // a hash never fails
	}
	return b, err
}

// entry reads the next entry; key and value hold until the one after. The end
// of the log, or damage, is io.EOF.
func (w *walReader) entry() (meta byte, key, value []byte, err error) {
	w.crc.Reset()
	w.read = 0
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
	w.read += len(b) + len(sum)
	return meta, b[:k], b[k:], nil
}
