package e2e

import (
	"context"
	"sync"
	"time"
)

const (
	// maxSamples bounds what a trace keeps, however long a run takes to
	// converge.
	maxSamples = 2000
	// samplesOf is how many samples are taken over a scenario's duration.
	samplesOf = 200
	// shortestSample is the least time between two samples: each asks every
	// replica.
	shortestSample = 10 * time.Millisecond
)

// trace is what a run keeps of its course.
type trace struct {
	faults []Happening // owned by the goroutine that acts
	// Owned by the goroutine of sample:
	samples []Sample
	peaks   Peaks
}

func (t *trace) happened(at time.Duration, what string) {
	t.faults = append(t.faults, Happening{at, what})
}

// sample measures, and takes samples with Options.Trace, until stop is called,
// which returns after the last time and may be called again.
func (r *run) sample(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var sampling sync.WaitGroup
	sampling.Go(func() {
		for more := true; ; more = sleep(ctx, max(r.s.Duration/samplesOf, shortestSample)) {
			r.measure()
			if r.o.Trace && (len(r.trace.samples) < maxSamples || !more) {
				r.trace.samples = append(r.trace.samples, r.look(context.WithoutCancel(ctx)))
			}
			if !more {
				return
			}
		}
	})
	return func() {
		cancel()
		sampling.Wait()
	}
}

// look takes one sample.
func (r *run) look(ctx context.Context) Sample {
	r.mu.Lock()
	s := Sample{At: time.Since(r.started), Acknowledged: r.count}
	r.mu.Unlock()
	for _, h := range r.hosts {
		s.Events = append(s.Events, h.events(ctx))
	}
	return s
}

// events returns how many events the host's node has; -1: it is down.
func (h *host) events(ctx context.Context) int {
	l := h.living()
	if l == nil {
		return -1
	}
	n := 0
	for _, t := range l.topics {
		s, err := t.State(ctx)
		if err != nil { // it goes down meanwhile
			return -1
		}
		n += int(s.Events)
	}
	return n
}
