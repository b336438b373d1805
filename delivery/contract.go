package delivery

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/types"
)

// Config is what consumers work with.
type Config struct {
	Records Records
	// Topic returns the log of a topic that the node holds, joined or left, or
	// types.ErrNotFound.
	Topic func(types.TopicID) (Log, error)
	// Validator returns a topic's validator, nil for none. Nil: there are none.
	Validator func(types.TopicID) Validator
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
	// Log takes the log; nil: nothing is logged.
	Log *slog.Logger
}

type Consumers struct{}

type Consumer struct{}

func Open(cfg Config) (*Consumers, error)                  { return nil, errors.ErrUnsupported }
func (cs *Consumers) Create(s Settings) (*Consumer, error) { return nil, errors.ErrUnsupported }
func (cs *Consumers) Find(name string) (*Consumer, error)  { return nil, errors.ErrUnsupported }
func (cs *Consumers) List() []*Consumer                    { return nil }
func (cs *Consumers) Remove(name string) error             { return errors.ErrUnsupported }
func (cs *Consumers) Close() error                         { return nil }
func (c *Consumer) Settings() Settings                     { return Settings{} }
func (c *Consumer) Info() (Info, error)                    { return Info{}, errors.ErrUnsupported }
func (c *Consumer) Next(ctx context.Context, batch int, wait time.Duration) ([]Delivery, error) {
	return nil, errors.ErrUnsupported
}
func (c *Consumer) Stream(ctx context.Context) iter.Seq2[Delivery, error] { return nil }
func (c *Consumer) Ack(ctx context.Context, tokens ...Token) error        { return errors.ErrUnsupported }
func (c *Consumer) Nak(ctx context.Context, delay time.Duration, tokens ...Token) error {
	return errors.ErrUnsupported
}
func (c *Consumer) Progress(ctx context.Context, tokens ...Token) error { return errors.ErrUnsupported }
func (c *Consumer) Term(ctx context.Context, reason string, tokens ...Token) error {
	return errors.ErrUnsupported
}
func (c *Consumer) Dead(after uint64) iter.Seq2[Dead, error]             { return nil }
func (c *Consumer) Suppressed(after uint64) iter.Seq2[Suppressed, error] { return nil }
func (c *Consumer) Requeue(ctx context.Context, cids ...cid.Cid) (int, error) {
	return 0, errors.ErrUnsupported
}
func (c *Consumer) Reset(ctx context.Context, from Start) error { return errors.ErrUnsupported }
