package syncer

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// unnegotiated is a stream whose Close waits for a peer that never answers, as
// libp2p's does for up to 10 s.
type unnegotiated struct {
	stream
	reset sync.Once
	gone  chan struct{}
}

func (u *unnegotiated) Reset() error {
	u.reset.Do(func() { close(u.gone) })
	return nil
}

func (u *unnegotiated) Close() error {
	<-u.gone
	return nil
}

// The end of a syncer's work does not wait for a stream that its peer has not
// answered yet: a node that was cut off took 10 s to stop, and a daemon gives
// itself 4.5.
func TestCloseEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		st := &unnegotiated{gone: make(chan struct{})}
		c := &client{stream: st}
		c.stop = context.AfterFunc(ctx, func() { st.Reset() }) //nolint:errcheck // it never fails
		begun := time.Now()
		time.AfterFunc(time.Second, cancel)
		c.close()
		if took := time.Since(begun); took != time.Second {
			t.Errorf("it took %v", took)
		}
	})
}
