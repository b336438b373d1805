// Command bench measures whole nodes beside what the machine can do: durable
// appends, convergence, joins, healing and latency, each with the limits that
// were measured around it, and what many dormant topics cost.
//
//	go run ./e2e/bench [-runs 3] [-select REGEXP] [-profile DIR] append|converge|join|heal|latency|topics|limits
//
// It prints a table in Markdown and fails when replicas that should be equal
// are not, or lack events. docs/benchmarks.md says how to read the table.
package main
