package api

import (
	"context"
	"errors"
	"fmt"

	"connectrpc.com/connect"

	cairnv1 "github.com/cairn-p2p/cairn/api/cairn/v1"
	"github.com/cairn-p2p/cairn/types"
)

// ErrUnreachable: no node answers at the client's address, or it went away
// during the call, which may or may not have had its effect.
var ErrUnreachable = errors.New("node is unreachable")

// reason is how one sentinel error crosses the API: as a code that every
// client of the protocol knows, and a word that never changes.
type reason struct {
	err  error
	word string
	code connect.Code
}

// reasons is in order of precedence, for errors that wrap several sentinels.
// It is never changed.
var reasons = []reason{
	{ErrLogReplaced, "log_replaced", connect.CodeFailedPrecondition},
	{ErrConsumerDiffers, "consumer_differs", connect.CodeAlreadyExists},
	{types.ErrInvalidCursor, "invalid_cursor", connect.CodeInvalidArgument},
	{types.ErrInvalidArgument, "invalid_argument", connect.CodeInvalidArgument},
	{types.ErrNotFound, "not_found", connect.CodeNotFound},
	{types.ErrNotWriter, "not_writer", connect.CodePermissionDenied},
	{types.ErrUnsupported, "unsupported", connect.CodeFailedPrecondition},
	{types.ErrRelay, "relay", connect.CodeFailedPrecondition},
	{types.ErrDiskFull, "disk_full", connect.CodeResourceExhausted},
	{types.ErrRolledBack, "rolled_back", connect.CodeFailedPrecondition},
	{types.ErrForkedKey, "forked_key", connect.CodeFailedPrecondition},
	{types.ErrCorrupt, "corrupt", connect.CodeDataLoss},
	{types.ErrStore, "store", connect.CodeInternal},
	{types.ErrClosed, "closed", connect.CodeUnavailable},
}

// How errors cross that are no sentinel of types.
var (
	reasonCanceled = reason{context.Canceled, "canceled", connect.CodeCanceled}
	reasonTimeout  = reason{context.DeadlineExceeded, "timeout", connect.CodeDeadlineExceeded}
	reasonFailed   = reason{nil, "failed", connect.CodeUnknown}
)

// reasonOf classifies err, which ended a call with context ctx. Only the
// call's own end makes it a timeout: a dial that took too long, say, is just a
// failure.
func reasonOf(ctx context.Context, err error) reason {
	for _, r := range reasons {
		if errors.Is(err, r.err) {
			return r
		}
	}
	switch {
	case errors.Is(context.Cause(ctx), types.ErrClosed):
		return reasons[len(reasons)-1]
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return reasonTimeout
	case ctx.Err() != nil:
		return reasonCanceled
	}
	return reasonFailed
}

// toWire turns the error that ended a call into the protocol's.
func toWire(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	var wire *connect.Error
	if errors.As(err, &wire) { // the protocol's own complaint about a request
		return err
	}
	r := reasonOf(ctx, err)
	info := &cairnv1.ErrorInfo{Reason: r.word}
	var draft *DraftError
	if errors.As(err, &draft) { // the client says which, as it counts
		info.Index, err = draft.Index, draft.Err
	}
	if cause := context.Cause(ctx); errors.Is(cause, types.ErrClosed) && !errors.Is(err, types.ErrClosed) {
		err = cause // what it ended by is no news to the caller
	}
	wire = connect.NewError(r.code, err)
	if detail, err := connect.NewErrorDetail(info); err == nil {
		wire.AddDetail(detail)
	}
	return wire
}

// remoteError is a node's error on the client's side: its text, and the
// sentinel that it wrapped over there.
type remoteError struct {
	text     string
	sentinel error // may be nil
}

func (e *remoteError) Error() string { return e.text }
func (e *remoteError) Unwrap() error { return e.sentinel }

// fromWire turns what a call of the node at url returned into the error that
// the node had, for errors.Is, or into ErrUnreachable when it is not the node's
// answer. Errors of ctx are returned as such.
func fromWire(ctx context.Context, url string, err error) error {
	if err == nil {
		return nil
	}
	if info := errorInfo(err); info != nil {
		return &remoteError{text: wireMessage(err), sentinel: sentinelOf(info.GetReason())}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	// The protocol itself refuses a request in these ways; only a node does so
	// over the wire.
	switch code := connect.CodeOf(err); {
	case !connect.IsWireError(err), code == connect.CodeUnavailable, code == connect.CodeCanceled:
		return fmt.Errorf("%w at %s: %s", ErrUnreachable, url, wireMessage(err))
	case code == connect.CodeInvalidArgument, code == connect.CodeResourceExhausted:
		return &remoteError{text: wireMessage(err), sentinel: types.ErrInvalidArgument}
	case code == connect.CodeDeadlineExceeded:
		return &remoteError{text: wireMessage(err), sentinel: context.DeadlineExceeded}
	}
	return &remoteError{text: wireMessage(err)}
}

// wireMessage returns the text of err without the protocol's code.
func wireMessage(err error) string {
	var wire *connect.Error
	if errors.As(err, &wire) && wire.Message() != "" {
		return wire.Message()
	}
	return err.Error()
}

// errorInfo returns the detail that a node attaches to each error, or nil.
func errorInfo(err error) *cairnv1.ErrorInfo {
	var wire *connect.Error
	if !errors.As(err, &wire) {
		return nil
	}
	for _, d := range wire.Details() {
		v, err := d.Value()
		if info, ok := v.(*cairnv1.ErrorInfo); err == nil && ok {
			return info
		}
	}
	return nil
}

func sentinelOf(word string) error {
	for _, r := range append(reasons[:len(reasons):len(reasons)], reasonCanceled, reasonTimeout) {
		if r.word == word {
			return r.err
		}
	}
	return nil
}

// DraftError says which draft of a stream ended it.
type DraftError struct {
	Index uint64 // of the first draft that was not acknowledged, from 0
	Err   error
}

func (e *DraftError) Error() string { return fmt.Sprintf("draft %d: %v", e.Index, e.Err) }
func (e *DraftError) Unwrap() error { return e.Err }
