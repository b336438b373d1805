package types

import "fmt"

// Check returns ErrInvalidArgument for a key with which no signature is valid:
// see checkKey.
func (p Publisher) Check() error {
	if err := checkKey(p[:]); err != nil {
		return fmt.Errorf("%w: publisher's %w", ErrInvalidArgument, err)
	}
	return nil
}
