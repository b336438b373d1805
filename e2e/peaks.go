package e2e

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime/metrics"
	"strconv"
	"syscall"

	"github.com/cairn-p2p/cairn/node"
)

// Peaks are the greatest values that samples found while a run lasted. What was
// more between two samples is not in them.
type Peaks struct {
	Heap    uint64 `json:"heap"`    // bytes of the process's Go heap, whatever else is in it; garbage counts until it is collected
	Disk    int64  `json:"disk"`    // bytes that the data of all nodes takes
	Pending int64  `json:"pending"` // bytes of pending events of the node that had most; node.MaxPending is the cap
	Streams int    `json:"streams"` // that one node served to others; node.MaxStreams is the cap
}

// Peak is one of Peaks.
type Peak struct {
	Name  string // what it is of
	Value uint64
	Cap   uint64 // what it is bounded by; 0: nothing is stated
	Bytes bool   // its unit; else it is a number
}

// List returns the peaks of a run and how they stand to their caps, always in the
// same order for one scenario.
func (r *Result) List() []Peak {
	list := []Peak{
		{"pending on a node", uint64(r.Peaks.Pending), node.MaxPending, true},
		{"streams served by a node", uint64(r.Peaks.Streams), node.MaxStreams, false},
		{"heap of the process", r.Peaks.Heap, 0, true},
		{"disk of all nodes", uint64(r.Peaks.Disk), r.DiskCap, true},
	}
	if len(r.Attacks) > 0 {
		list = append(list, Peak{"growth of the heap", r.Growth, r.GrowthCap, true})
	}
	for _, a := range r.Attacks {
		list = append(list, Peak{"streams served to a hostile peer", uint64(a.Streams), node.MaxPeerStreams, false})
	}
	return list
}

// exceeded returns the peaks that are above their caps, one sentence each.
func (r *Result) exceeded() []string {
	var wrong []string
	for _, p := range r.List() {
		if p.Cap > 0 && p.Value > p.Cap {
			wrong = append(wrong, fmt.Sprintf("%s: %d, at most %d may be", p.Name, p.Value, p.Cap))
		}
	}
	return wrong
}

// String returns the peak for people: "pending on a node 12 KiB of 64 MiB".
func (p Peak) String() string {
	of := func(n uint64) string {
		switch {
		case !p.Bytes || n < 1<<10:
			return strconv.FormatUint(n, 10)
		case n < 1<<20:
			return strconv.FormatUint(n>>10, 10) + " KiB"
		}
		return strconv.FormatUint(n>>20, 10) + " MiB"
	}
	if p.Cap == 0 {
		return p.Name + " " + of(p.Value)
	}
	return p.Name + " " + of(p.Value) + " of " + of(p.Cap)
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
