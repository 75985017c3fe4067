// SPDX-License-Identifier: Apache-2.0

package main

import "math"

// goal is the project's goal for a line of the table: a bound for the ratio of containerd-lite to
// containerd.
type goal struct {
	line  string
	limit float64
	bound bound
}

// bound is the kind of bound.
type bound int

const (
	atMost   bound = iota // upper bound of the ratio
	atLeast               // lower bound of the ratio
	atMostOf              // upper bound of containerd-lite's own value
)

// goals returns the goals of the project.
func goals() []goal {
	return []goal{
		{"pod up, host network", 0.42, atMost},
		{"pod up, CNI", 0.62, atMost},
		{"pods per second, ten in flight, CNI", 1.7, atLeast},
		{"pod down, host network", 0.40, atMost},
		{"pod down, CNI", 0.65, atMost},
		{"ExecSync true", 0.90, atMost},
		{"ListContainerStats, 100 pods", 0.10, atMost},
		{"ListPodSandboxStats, 100 pods", 0.10, atMost},
		{"ListPodSandboxStats, a pod without cgroup parent", 0, atMostOf},
		{"helpers' memory per pod, PSS, 40 pods", 0.40, atMost},
		{"helpers' memory per pod, PSS, 40 pods, Sharing node", 0.04, atMost},
		{"daemon's memory per pod, PSS, 40 pods", 1.0, atMost},
		{"daemon's memory per pod, PSS, 100 pods", 1.0, atMost},
		{"idle CPU, 100 pods", 0.35, atMost},
		{"log, lines of 80 bytes", 6, atLeast},
		{"log, lines of 1000 bytes", 2.5, atLeast},
		{"log, CPU per GiB, lines of 80 bytes", 0.15, atMost},
		{"log, CPU per GiB, lines of 1000 bytes", 0.35, atMost},
		{"pull of 200 MiB in 8 layers", 1.0, atMost},
		{"daemon's start to a complete list, 100 pods", 0.5, atMost},
	}
}

// mark returns whether a line meets the goal.
func (g goal) mark(l line) string {
	value := l.ratio()
	if g.bound == atMostOf {
		value = l.lite.median()
	}
	switch {
	case math.IsNaN(value):
		return "not measured"
	case g.bound == atLeast && value >= g.limit, g.bound != atLeast && value <= g.limit:
		return "met"
	default:
		return "MISSED"
	}
}
