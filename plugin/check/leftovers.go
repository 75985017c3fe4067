// SPDX-License-Identifier: Apache-2.0

package check

import (
	"context"
	"os"
	"path/filepath"
	"strings"
)

// daemons are the other container runtimes with a CRI, by the name of their process.
var daemons = map[string]string{
	"crio":        "CRI-O",
	"cri-dockerd": "cri-dockerd",
}

// otherRuntimes looks for other container runtimes that run, or that left networks behind.
func otherRuntimes(_ context.Context, n Node) []Finding {
	var problems []Finding
	names, err := filepath.Glob(n.path("proc/[0-9]*/comm"))
	if err != nil {
		return []Finding{ok("no other container runtime runs")}
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		if other := daemons[strings.TrimSpace(string(data))]; other != "" {
			problems = append(problems, warning("systemctl disable --now "+strings.TrimSpace(string(data)),
				"%s runs, too: two runtimes use the same CNI networks and the kubelet sees the pods of one", other))
		}
	}
	return orOK(problems, "no other container runtime runs")
}
