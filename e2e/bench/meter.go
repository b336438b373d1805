package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"runtime/pprof"
	"strconv"
	"syscall"
	"time"
)

// measure times work and what it costs this process.
func (b *bench) measure(ctx context.Context, r *row, work func(context.Context) error) error {
	debug.FreeOSMemory() // so that the peak is this work's
	if err := resetPeak(); err != nil {
		return err
	}
	stop, err := b.profiler.start()
	if err != nil {
		return err
	}
	cpu, err := cpuTime()
	if err != nil {
		return err
	}
	written, err := writtenBytes()
	if err != nil {
		return err
	}
	live := watchHeap()
	start := time.Now()
	workErr := work(ctx)
	r.took = time.Since(start)
	r.live = live()
	after, err := cpuTime()
	if err = errors.Join(workErr, err, stop()); err != nil {
		return err
	}
	r.cpu = after - cpu
	if r.rss, err = peak(); err != nil {
		return err
	}
	total, err := writtenBytes()
	r.written = total - written
	return err
}

// heapPoll is how often watchHeap looks: a collection takes longer at these
// sizes of heap.
const heapPoll = 10 * time.Millisecond

// watchHeap begins to watch how much of the heap each collection finds in use; the
// result ends it and returns the most, at least what is in use then, in bytes.
func watchHeap() (most func() int64) {
	stop, ended := make(chan struct{}), make(chan struct{})
	var peak uint64
	go func() {
		defer close(ended)
		ticker := time.NewTicker(heapPoll)
		defer ticker.Stop()
		for {
			peak = max(peak, liveHeap())
			select {
			case <-ticker.C:
			case <-stop:
				return
			}
		}
	}()
	return func() int64 {
		close(stop)
		<-ended
		return int64(max(peak, liveHeap()))
	}
}

// liveHeap is what the last collection found in use, in bytes.
func liveHeap() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// writtenBytes is what this process has had written to disks so far; 0 where the
// system does not tell.
func writtenBytes() (int64, error) {
	if runtime.GOOS != "linux" {
		return 0, nil
	}
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return 0, fmt.Errorf("read bytes written: %w", err)
	}
	_, rest, _ := bytes.Cut(text, []byte("\nwrite_bytes: "))
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	n, err := strconv.ParseInt(string(line), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read bytes written: %w", err)
	}
	return n, nil
}

// cpuTime is the user and system time of this process so far.
func cpuTime() (time.Duration, error) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, fmt.Errorf("read CPU time: %w", err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}

// resetPeak makes the present resident memory the peak.
func resetPeak() error {
	if runtime.GOOS != "linux" {
		return nil
	}
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		return fmt.Errorf("reset peak memory: %w", err)
	}
	return nil
}

// peak is the greatest resident memory since resetPeak, in bytes; 0 where the
// system does not tell.
func peak() (int64, error) {
	if runtime.GOOS != "linux" {
		return 0, nil
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, fmt.Errorf("read peak memory: %w", err)
	}
	_, rest, _ := bytes.Cut(status, []byte("VmHWM:"))
	line, _, _ := bytes.Cut(rest, []byte("kB"))
	kib, err := strconv.ParseInt(string(bytes.TrimSpace(line)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read peak memory: %w", err)
	}
	return kib << 10, nil
}

// profiler writes profiles of the measured work, the latest run over the ones
// before. A nil one does nothing.
type profiler struct{ dir string }

func newProfiler(dir string) (*profiler, error) {
	runtime.SetBlockProfileRate(10_000) // one sample each 10 µs blocked
	runtime.SetMutexProfileFraction(10)
	return &profiler{dir}, os.MkdirAll(dir, 0o755)
}

// start begins a profile; the result ends and writes it.
func (p *profiler) start() (stop func() error, err error) {
	if p == nil {
		return func() error { return nil }, nil
	}
	f, err := os.Create(filepath.Join(p.dir, "cpu.prof"))
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return errors.Join(f.Close(), p.write("block"), p.write("allocs"), p.write("mutex"))
	}, nil
}

func (p *profiler) write(name string) error {
	f, err := os.Create(filepath.Join(p.dir, name+".prof"))
	if err != nil {
		return err
	}
	return errors.Join(pprof.Lookup(name).WriteTo(f, 0), f.Close())
}
