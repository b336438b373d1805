package graph

// Lengths in pixels.
const (
	marginLeft   = 150 // for the publishers' names
	marginRight  = 90  // for the names of heads
	marginTop    = 64  // for the title
	marginBottom = 76  // for the axis and the legend
	minWidth     = 640 // for the title and the legend

	// spread is how wide the DAG may become before its columns are narrowed.
	spread     = 1500
	wideColumn = 64
	thinColumn = 8 // that two dots still do not touch

	// stack is how high the lanes together may become before they are narrowed.
	stack    = 720
	wideLane = 72
	thinLane = 24

	// nameWidth is what an event's short CID needs.
	nameWidth = 50
	tickGap   = 48
)

// scale is how densely a layout is drawn.
type scale struct {
	column int // from one height to the next
	lane   int // from one publisher to the next
	row    int // between events of one publisher and height
	radius int // of an event
}

// scaleFor returns the scale at which so many columns and lanes are best read:
// as wide as possible on one screen, and never so narrow that events touch.
func scaleFor(columns, lanes int) scale {
	s := scale{
		column: min(wideColumn, max(thinColumn, spread/max(1, columns))),
		lane:   min(wideLane, max(thinLane, stack/max(1, lanes))),
	}
	s.radius = min(7, max(3, s.column/4))
	s.row = 2*s.radius + 4
	return s
}

// names reports whether there is room for the name of each event.
func (s scale) names() bool { return s.column >= nameWidth && s.lane >= wideLane/2 }
