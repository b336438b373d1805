package node

import (
	"context"
	"runtime"
	"sync"
	"time"

	"github.com/cairn-p2p/cairn/types"
)

const (
	// rememberedRoots bounds the batch roots that need no second signature
	// check: about 4 MB, and the batches of some minutes of a busy node.
	rememberedRoots = 1 << 14
	// verifyChunk is the number of events that are worth a goroutine: about a
	// millisecond of single signatures.
	verifyChunk = 32
)

// verifier checks witnesses on all cores, for the whole node.
type verifier struct {
	*types.Verifier
	slots chan struct{} // one for each check that runs
	// verified is told of each check what came of it.
	verified func(took time.Duration, errs []error)
}

func newVerifier(verified func(took time.Duration, errs []error)) *verifier {
	return &verifier{
		Verifier: types.NewVerifier(rememberedRoots),
		slots:    make(chan struct{}, runtime.GOMAXPROCS(0)),
		verified: verified,
	}
}

// check verifies the witness of each event and returns an error, or nil, for
// each. It blocks while the cores are taken; when ctx ends, the rest get its
// error.
func (v *verifier) check(ctx context.Context, events []*types.Event) []error {
	begin := time.Now()
	errs := v.checkAll(ctx, events)
	v.verified(time.Since(begin), errs)
	return errs
}

func (v *verifier) checkAll(ctx context.Context, events []*types.Event) []error {
	errs := make([]error, len(events))
	var chunks sync.WaitGroup
	for start := 0; start < len(events); start += verifyChunk {
		end := min(start+verifyChunk, len(events))
		select {
		case v.slots <- struct{}{}:
		case <-ctx.Done():
			for i := start; i < len(events); i++ {
				errs[i] = ctx.Err()
			}
			chunks.Wait()
			return errs
		}
		work := func() {
			defer func() { <-v.slots }()
			for i := start; i < end; i++ {
				errs[i] = v.Verify(events[i])
			}
		}
		if end == len(events) {
			work()
		} else {
			chunks.Go(work)
		}
	}
	chunks.Wait()
	return errs
}
