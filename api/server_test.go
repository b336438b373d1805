package api

import (
	"context"
	"errors"
	"iter"
	"testing"

	"go.uber.org/goleak"

	"github.com/cairn-p2p/cairn/types"
)

// TestServeEndsWhatWaits shows that calls that would wait for ever end when the
// server stops, and that nothing is left behind.
func TestServeEndsWhatWaits(t *testing.T) {
	defer goleak.VerifyNone(t)
	waiting := make(chan struct{}, 2)
	c, stop := serve(t, &fake{
		wait: func(ctx context.Context) (*TopicStatus, error) {
			waiting <- struct{}{}
			<-ctx.Done()
			return nil, ctx.Err()
		},
		publish: echo,
		subscribe: func(ctx context.Context) iter.Seq2[Delivery, error] {
			return func(yield func(Delivery, error) bool) {
				if yield(Delivery{Cursor: "c"}, nil) {
					<-ctx.Done()
					yield(Delivery{}, context.Cause(ctx))
				}
			}
		},
	})
	waited, published, subscribed := make(chan error, 1), make(chan error, 1), make(chan error, 1)
	go func() { _, err := c.Wait(t.Context(), "t", Until{}); waited <- err }()
	go func() {
		drafts := make(chan []Draft, 1)
		drafts <- numbers(0, 1)
		published <- c.PublishStream(t.Context(), "t", drafts, func([]string) error { waiting <- struct{}{}; return nil })
	}()
	standing := make(chan struct{})
	go func() {
		for _, err := range c.Subscribe(t.Context(), "t", FromNow) {
			if err != nil {
				subscribed <- err
				return
			}
			close(standing)
		}
	}()
	<-waiting
	<-waiting
	<-standing
	stop()
	wantErr(t, <-waited, types.ErrClosed)
	err := <-published
	wantErr(t, err, types.ErrClosed)
	var failed *DraftError
	if !errors.As(err, &failed) || failed.Index != 1 {
		t.Errorf("error %v, want draft 1", err)
	}
	wantErr(t, <-subscribed, types.ErrClosed)
	c.Close()
}

// TestServeFinishesCalls shows that a call that was accepted is answered.
func TestServeFinishesCalls(t *testing.T) {
	called, release := make(chan struct{}), make(chan struct{})
	c, stop := serve(t, &fake{publish: func(ctx context.Context, topic string, drafts []Draft) ([]string, error) {
		close(called)
		<-release
		return echo(ctx, topic, drafts)
	}})
	answered := make(chan error, 1)
	go func() {
		cids, err := c.Publish(t.Context(), "t", numbers(0, 1))
		if err == nil && len(cids) != 1 {
			err = errors.New("no CID")
		}
		answered <- err
	}()
	<-called
	stopped := make(chan struct{})
	go func() { stop(); close(stopped) }()
	close(release)
	if err := <-answered; err != nil {
		t.Errorf("a call under way when the server stopped: %v", err)
	}
	<-stopped
}
