// Package graph draws the DAG of a topic: height across, a lane for each
// publisher, heads marked. It lays events out once and writes the result as
// SVG, as DOT for Graphviz, or as JSON. Its output depends on nothing but its
// input. It knows no other package of the module, so that a report can draw
// what it has without a node.
package graph
