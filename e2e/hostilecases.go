package e2e

// hostileCases returns the cases of peers that misbehave.
func hostileCases() []Scenario { return nil }
