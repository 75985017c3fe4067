// SPDX-License-Identifier: Apache-2.0

package check

import (
	"context"
)

// daemons are the other container runtimes with a CRI, by the name of their process.
var daemons = map[string]string{
	"crio":        "CRI-O",
	"cri-dockerd": "cri-dockerd",
}

// otherRuntimes looks for other container runtimes that run, or that left networks behind.
func otherRuntimes(_ context.Context, n Node) []Finding {
	var problems []Finding
	for _, name := range HostProcesses(n.Root) {
		if other := daemons[name]; other != "" {
			problems = append(problems, warning("systemctl disable --now "+name,
				"%s runs, too: two runtimes use the same CNI networks and the kubelet sees the pods of one", other))
		}
	}
	return orOK(problems, "no other container runtime runs")
}
