package graph

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"strings"
)

// palette are the lanes' colours, which can be told apart, and read on white as
// on black.
var palette = [...]string{"#3b82f6", "#ea580c", "#16a34a", "#a855f7", "#e11d48", "#0891b2", "#b7791f", "#db2777"}

func colour(lane int) string { return palette[lane%len(palette)] }

// style is the SVG's: no variables, which not every viewer knows.
const style = `
text { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: 11px; fill: #334155; }
.title { font-size: 15px; font-weight: bold; fill: #0f172a; }
.note, .name, .tick { fill: #64748b; }
.name, .tick { font-size: 10px; text-anchor: middle; }
.name, .head-name { paint-order: stroke; stroke: #ffffff; stroke-width: 3px; stroke-linejoin: round; }
.head-name { font-size: 11px; font-weight: bold; fill: #0f172a; }
.paper { fill: #ffffff; }
.band { fill: #f1f5f9; }
.grid { stroke: #e2e8f0; }
.edge { fill: none; stroke-opacity: 0.55; }
.stub { fill: none; stroke: #94a3b8; stroke-dasharray: 2 2; }
.head { fill: none; stroke: #0f172a; stroke-width: 1.5; }
@media (prefers-color-scheme: dark) {
  text { fill: #cbd5e1; }
  .title, .head-name { fill: #f8fafc; }
  .note, .name, .tick { fill: #94a3b8; }
  .name, .head-name { stroke: #0d1117; }
  .paper { fill: #0d1117; }
  .band { fill: #161b22; }
  .grid { stroke: #21262d; }
  .head { stroke: #f8fafc; }
}
`

// WriteSVG writes the layout as one SVG document that needs nothing else. It
// has a tooltip for each event and link.
func (l *Layout) WriteSVG(w io.Writer) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img">`+"\n", l.Width, l.Height, l.Width, l.Height)
	fmt.Fprintf(&b, "<title>%s</title>\n<style>%s</style>\n", escape(l.caption()), style)
	fmt.Fprintf(&b, `<rect class="paper" width="%d" height="%d"/>`+"\n", l.Width, l.Height)
	fmt.Fprintf(&b, `<text class="title" x="16" y="28">%s</text>`+"\n", escape(plain(cut(l.Topic, 48))))
	fmt.Fprintf(&b, `<text class="note" x="16" y="46">%s</text>`+"\n", escape(l.caption()))
	l.drawLanes(&b)
	l.drawEdges(&b)
	l.drawNodes(&b)
	l.drawLegend(&b)
	b.WriteString("</svg>\n")
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("write graph: %w", err)
	}
	return nil
}

// caption says what is drawn.
func (l *Layout) caption() string {
	heads := 0
	for _, n := range l.Nodes {
		if n.Head {
			heads++
		}
	}
	text := counted(len(l.Nodes), "event")
	if l.Events > uint64(len(l.Nodes)) {
		text = fmt.Sprintf("the last %d of %s", len(l.Nodes), counted(int(l.Events), "event"))
	}
	text += ", " + counted(len(l.Lanes), "publisher") + ", " + counted(heads, "head")
	if l.OlderHeads > 0 {
		text += fmt.Sprintf(" and %d older", l.OlderHeads)
	}
	return text
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func (l *Layout) drawLanes(b *bytes.Buffer) {
	bottom := l.Height - marginBottom
	for i := range l.Lanes {
		top := marginTop
		if i > 0 {
			top = l.laneBottom(i - 1)
		}
		if i%2 == 0 {
			fmt.Fprintf(b, `<rect class="band" x="0" y="%d" width="%d" height="%d"/>`+"\n", top, l.Width, l.laneBottom(i)-top)
		}
	}
	for _, t := range l.ticks {
		fmt.Fprintf(b, `<path class="grid" d="M%d %dV%d"/><text class="tick" x="%d" y="%d">%d</text>`+"\n", t.x, marginTop, bottom, t.x, bottom+16, t.height)
	}
	for _, lane := range l.Lanes {
		fmt.Fprintf(b, `<g><title>%s, %s</title><text x="16" y="%d" style="fill:%s">%s</text></g>`+"\n",
			escape(plain(lane.Publisher)), counted(lane.Events, "event"), lane.Y+4, colour(lane.Lane), escape(plain(short(lane.Publisher, shortPeer))))
	}
	if len(l.ticks) > 0 {
		fmt.Fprintf(b, `<text class="note" x="16" y="%d">height</text>`+"\n", bottom+16)
	}
}

// laneBottom is the y below a lane: lanes touch, and are as far from their
// middle to the top as to the bottom.
func (l *Layout) laneBottom(lane int) int {
	y := marginTop
	for _, one := range l.Lanes[:lane+1] {
		y += 2 * (one.Y - y)
	}
	return y
}

func (l *Layout) drawEdges(b *bytes.Buffer) {
	width := "1"
	if l.scale.radius > 5 {
		width = "1.5"
	}
	before := l.before()
	fmt.Fprintf(b, `<g stroke-width="%s">`+"\n", width)
	for _, e := range l.Edges {
		if !e.Drawn {
			continue
		}
		from, to := l.Nodes[e.from], l.Nodes[e.to]
		fmt.Fprintf(b, `<path class="edge" stroke="%s" d="%s"><title>%s links to %s</title></path>`+"\n",
			colour(to.Lane), l.curve(to, from, before[e.from] != e.to), escape(plain(short(from.CID, shortCID))), escape(plain(short(to.CID, shortCID))))
	}
	for _, n := range l.Nodes {
		if n.outside > 0 {
			x, y, r := n.X, n.Y, l.scale.radius
			fmt.Fprintf(b, `<path class="stub" d="M%d %dq%d 0 %d %d"><title>%s that %s not drawn</title></path>`+"\n",
				x-r, y, -r, -2*r, -r-2, counted(n.outside, "link"), areOrIs(n.outside))
		}
	}
	b.WriteString("</g>\n")
}

func areOrIs(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}

// before returns, for each node, the one before it in its lane; -1 for none.
func (l *Layout) before() []int {
	last := map[int]int{}
	all := make([]int, len(l.Nodes))
	for i, n := range l.Nodes {
		all[i] = -1
		if j, ok := last[n.Lane]; ok {
			all[i] = j
		}
		last[n.Lane] = i
	}
	return all
}

// curve is the path from an event to a later one: level at both ends, and in a
// bow where it would run through others of its own lane.
func (l *Layout) curve(a, z Node, between bool) string {
	dx := z.X - a.X
	if a.Y == z.Y && between {
		bow := min(l.scale.lane/2, l.scale.radius+dx/8)
		return fmt.Sprintf("M%d %dC%d %d %d %d %d %d", a.X, a.Y, a.X+dx/3, a.Y-bow, z.X-dx/3, z.Y-bow, z.X, z.Y)
	}
	reach := dx / 2
	return fmt.Sprintf("M%d %dC%d %d %d %d %d %d", a.X, a.Y, a.X+reach, a.Y, z.X-reach, z.Y, z.X, z.Y)
}

func (l *Layout) drawNodes(b *bytes.Buffer) {
	r := l.scale.radius
	for i, n := range l.Nodes {
		fmt.Fprintf(b, `<g><title>%s</title><circle cx="%d" cy="%d" r="%d" fill="%s"/>`, escape(strings.Join(l.tooltip(i), "\n")), n.X, n.Y, r, colour(n.Lane))
		name := escape(plain(short(n.CID, shortCID)))
		switch {
		case n.Head:
			fmt.Fprintf(b, `<circle class="head" cx="%d" cy="%d" r="%d"/><text class="head-name" x="%d" y="%d">%s</text>`, n.X, n.Y, r+3, n.X+r+7, n.Y+4, name)
		case l.scale.names():
			fmt.Fprintf(b, `<text class="name" x="%d" y="%d">%s</text>`, n.X, n.Y+r+13, name)
		}
		b.WriteString("</g>\n")
	}
}

// tooltip is what is known of a node, in lines.
func (l *Layout) tooltip(i int) []string {
	n := l.Nodes[i]
	lines := []string{
		plain(n.CID),
		fmt.Sprintf("height %d, seq %d of %s", n.Height, n.Seq, plain(short(n.Publisher, shortPeer))),
	}
	if !n.Time.IsZero() {
		lines = append(lines, n.Time.Format("2006-01-02 15:04:05.000Z"))
	}
	if n.Preview != "" {
		lines = append(lines, n.Preview)
	}
	return lines
}

func (l *Layout) drawLegend(b *bytes.Buffer) {
	y := l.Height - 24
	const radius = 5
	fmt.Fprintf(b, `<g><circle cx="22" cy="%d" r="%d" fill="%s"/><text x="36" y="%d">event, in its publisher's colour</text>`, y, radius, colour(0), y+4)
	fmt.Fprintf(b, `<circle cx="282" cy="%d" r="%d" fill="%s"/><circle class="head" cx="282" cy="%d" r="%d"/><text x="298" y="%d">head</text>`, y, radius, colour(0), y, radius+3, y+4)
	fmt.Fprintf(b, `<path class="edge" stroke="%s" stroke-width="1.5" d="M350 %dC362 %d 362 %d 374 %d"/><text x="382" y="%d">link</text>`, colour(0), y+5, y+5, y-5, y-5, y+4)
	fmt.Fprintf(b, `<path class="stub" d="M432 %dh24"/><text x="464" y="%d">links not drawn</text></g>`+"\n", y, y+4)
}

// cut returns the first n characters of s.
func cut(s string, n int) string {
	runes := []rune(s)
	if len(runes) <= n {
		return s
	}
	return string(runes[:n]) + "…"
}

// escape returns s as XML text; what XML cannot hold is replaced.
func escape(s string) string {
	var b strings.Builder
	xml.EscapeText(&b, []byte(s)) //nolint:errcheck // a builder takes everything
	return b.String()
}
