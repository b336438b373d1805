package graph

import (
	"bytes"
	"fmt"
	"io"
	"strings"
)

// WriteDOT writes the layout for Graphviz, which places it anew: heights from
// left to right, events of one publisher in one colour and, where it can, on one
// line.
func (l *Layout) WriteDOT(w io.Writer) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "digraph %s {\n", dotQuote(l.Topic))
	b.WriteString("  rankdir=RL;\n  node [shape=circle style=filled fontname=\"monospace\" fontsize=9 fontcolor=white];\n  edge [color=\"#94a3b8\" arrowsize=0.6];\n")
	for i, n := range l.Nodes {
		marks := ""
		if n.Head {
			marks = " peripheries=2"
		}
		fmt.Fprintf(&b, "  %s [label=%s group=lane%d color=%q tooltip=%s%s];\n",
			dotQuote(n.CID), dotQuote(short(n.CID, shortCID)), n.Lane, colour(n.Lane), dotQuote(strings.Join(l.tooltip(i), "\n")), marks)
	}
	for begin := 0; begin < len(l.Nodes); {
		end := begin
		b.WriteString("  { rank=same;")
		for ; end < len(l.Nodes) && l.Nodes[end].Height == l.Nodes[begin].Height; end++ {
			b.WriteString(" " + dotQuote(l.Nodes[end].CID) + ";")
		}
		b.WriteString(" }\n")
		begin = end
	}
	outside := map[string]bool{}
	for _, e := range l.Edges {
		if !e.Drawn && !outside[e.To] {
			outside[e.To] = true
			fmt.Fprintf(&b, "  %s [label=\"\" shape=point style=dotted color=\"#94a3b8\" tooltip=%s];\n", dotQuote(e.To), dotQuote(e.To+", not drawn"))
		}
		style := ""
		if !e.Drawn {
			style = " [style=dashed]"
		}
		fmt.Fprintf(&b, "  %s -> %s%s;\n", dotQuote(e.From), dotQuote(e.To), style)
	}
	b.WriteString("}\n")
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("write graph: %w", err)
	}
	return nil
}

// dotQuote returns s as a quoted string of the DOT language, in which only
// quotes and the backslashes that Graphviz would interpret are special.
func dotQuote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(plainLines(s)) + `"`
}

// plainLines is plain for each line of s.
func plainLines(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = plain(lines[i])
	}
	return strings.Join(lines, "\n")
}
