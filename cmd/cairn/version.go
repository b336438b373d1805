package main

import (
	"runtime"
	"runtime/debug"
)

// release is the version that this source is, or becomes.
const release = "0.1.0-dev"

// versionRow is what 'version' prints.
type versionRow struct {
	Version  string `json:"version"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// version describes this program: its release and, when it was built from a
// checkout, the revision.
func version() versionRow {
	row := versionRow{Version: release, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return row
	}
	const short = 12 // characters of a revision that tell it apart
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= short {
			row.Version += "+" + s.Value[:short]
		}
	}
	return row
}
