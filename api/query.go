package api

import (
	"fmt"
	"math"
	"time"

	"github.com/cairn-p2p/cairn/types"
)

// Check reports what is wrong with the query, whatever the node holds. The
// error is types.ErrInvalidArgument.
func (q Query) Check() error {
	_, err := q.parse()
	return err
}

func (q Query) parse() (types.Query, error) {
	selected := types.Query{Reverse: q.Reverse, Tag: q.Tag}
	var err error
	if q.After != "" {
		if selected.After, err = types.ParseCID(q.After); err != nil {
			return selected, fmt.Errorf("after: %w", err)
		}
	}
	if q.Publisher != "" {
		p, err := types.ParsePublisher(q.Publisher)
		if err != nil {
			return selected, fmt.Errorf("publisher: %w", err)
		}
		selected.Publisher = &p
	}
	if q.Tag != "" {
		if err := types.CheckTags([]string{q.Tag}); err != nil {
			return selected, fmt.Errorf("%w: %w", types.ErrInvalidArgument, err)
		}
	}
	if selected.Since, err = unixNano("since", q.Since); err != nil {
		return selected, err
	}
	if selected.Until, err = unixNano("until", q.Until); err != nil {
		return selected, err
	}
	selected.Limit = int(min(q.Limit, math.MaxInt))
	return selected, nil
}

// unixNano returns t in the range that an event's time has; the zero time is
// no bound, 0.
func unixNano(name string, t time.Time) (int64, error) {
	if t.IsZero() {
		return 0, nil
	}
	if !t.After(time.Unix(0, 0)) || t.After(time.Unix(0, math.MaxInt64)) {
		return 0, fmt.Errorf("%w: %s %s is not between 1970 and 2262", types.ErrInvalidArgument, name, t.Format(time.RFC3339))
	}
	return t.UnixNano(), nil
}
