package graph

import (
	"encoding/json"
	"fmt"
	"io"
)

// WriteJSON writes the layout as one JSON object.
func (l *Layout) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(l); err != nil {
		return fmt.Errorf("write graph: %w", err)
	}
	return nil
}
