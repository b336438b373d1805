package e2e

import (
	"errors"
	"io/fs"
	"path/filepath"
	"runtime/metrics"
	"syscall"
)

// Peaks are the greatest values that samples found while a run lasted. What was
// more between two samples is not in them.
type Peaks struct {
	Heap    uint64 `json:"heap"`    // bytes of the process's Go heap, whatever else is in it; garbage counts until it is collected
	Disk    int64  `json:"disk"`    // bytes that the data of all nodes takes
	Pending int64  `json:"pending"` // bytes of pending events of the node that had most; node.MaxPending is the cap
	Streams int    `json:"streams"` // that one node served to others; node.MaxStreams is the cap
}

// measure raises the peaks to what is there now.
func (r *run) measure() {
	p := &r.trace.peaks
	p.Heap = max(p.Heap, heapBytes())
	p.Disk = max(p.Disk, diskBytes(r.dir))
	for _, h := range r.hosts {
		s := h.stats()
		p.Pending = max(p.Pending, s.Pending)
		p.Streams = max(p.Streams, s.Streams)
	}
}

// heapBytes returns the number of bytes of objects in the Go heap.
func heapBytes() uint64 {
	s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// diskBytes returns the number of bytes that the files below dir take on disk.
// What cannot be read counts for nothing: files go while nodes run.
func diskBytes(dir string) int64 {
	var total int64
	//nolint:errcheck // said above
	filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			if st, ok := info.Sys().(*syscall.Stat_t); ok {
				total += st.Blocks * 512 // the unit of st_blocks
			}
		}
		return nil
	})
	return total
}
