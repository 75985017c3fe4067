// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math"
	"slices"
	"strconv"
)

// goal is the project's goal for a line of the table: a bound for the ratio to the reference.
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
	atMostOf              // upper bound of the subject's own value
)

// goals returns the goals of the project. Those of wall time are for a machine, those of CPU time
// for cgroup v2: on v1, more than half of the work of runc is to mount the hierarchies.
func goals() []goal {
	return []goal{
		{"pod up, host network, node that churns", 0.42, atMost},
		{"pod up, host network, node that fills", 0.42, atMost},
		{"pod up, CNI, node that churns", 0.55, atMost},
		{"pod up, CNI, node that fills", 0.55, atMost},
		{"pod down, host network, node that churns", 0.30, atMost},
		{"pod down, host network, node that fills", 0.30, atMost},
		{"pod down, CNI, node that churns", 0.45, atMost},
		{"pod down, CNI, node that fills", 0.45, atMost},
		{"p99 of StopContainer, host network, node that churns", 0.3, atMost},
		{"p99 of StopContainer, host network, node that fills", 0.3, atMost},
		{"CPU of pod up, host network", 0.40, atMost},
		{"CPU of pod up, CNI", 0.60, atMost},
		{"CPU of pod down, host network", 0.30, atMost},
		{"CPU of pod down, CNI", 0.50, atMost},
		{"pods per second, ten in flight, CNI", 1.9, atLeast},
		{"ExecSync true", 0.80, atMost},
		{"CPU of ExecSync true", 0.80, atMost},
		{"ExecSync true, FastExec", 0.30, atMost},
		{"CPU of ExecSync true, FastExec", 0.25, atMost},
		{"ListContainerStats, 100 pods", 0.10, atMost},
		{"ListPodSandboxStats, 100 pods", 0.10, atMost},
		{"ListPodSandboxStats, a pod without cgroup parent", 0, atMostOf},
		{"helpers' memory per pod, PSS, 40 pods", 0.38, atMost},
		{"helpers' memory per pod, PSS, 40 pods, Sharing node", 0.04, atMost},
		{"daemon's memory per pod, PSS, 40 pods", 0.6, atMost},
		{"daemon's memory per pod, PSS, 100 pods", 1.0, atMost},
		{"idle CPU, 100 pods", 0.35, atMost},
		{"log, lines of 80 bytes", 6, atLeast},
		{"log, lines of 1000 bytes", 2.5, atLeast},
		{"log, CPU per GiB, lines of 80 bytes", 0.15, atMost},
		{"log, CPU per GiB, lines of 1000 bytes", 0.35, atMost},
		{"pull of 200 MiB in 8 layers", 1.0, atMost},
		{"daemon's start to a complete list, 100 pods", 0.2, atMost},
		{"daemon's start to a complete list, 500 pods", 0.15, atMost},
	}
}

// goalOf returns the goal of a line, if it has one.
func goalOf(line string) (goal, bool) {
	all := goals()
	i := slices.IndexFunc(all, func(g goal) bool { return g.line == line })
	if i < 0 {
		return goal{}, false
	}
	return all[i], true
}

func hasGoal(line string) bool {
	_, ok := goalOf(line)
	return ok
}

// mark returns whether a line meets the goal with its whole confidence interval.
func (g goal) mark(l line) string {
	ratio := l.ratio()
	switch {
	case g.bound == atMostOf:
		return verdict(median(l.subject.all()) <= g.limit)
	case math.IsNaN(ratio.value):
		return "not measured"
	case math.IsInf(ratio.high, 0):
		return "too few rounds"
	case g.bound == atLeast:
		return verdict(ratio.low >= g.limit)
	default:
		return verdict(ratio.high <= g.limit)
	}
}

func verdict(met bool) string {
	if met {
		return "met"
	}
	return "MISSED"
}

func (g goal) String() string {
	sign := "≤ "
	if g.bound == atLeast {
		sign = "≥ "
	}
	return sign + strconv.FormatFloat(g.limit, 'f', -1, 64)
}
