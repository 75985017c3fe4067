// SPDX-License-Identifier: Apache-2.0

package check

import (
	"context"
	"fmt"
	"strings"
	"unicode"

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/plugin/config"
)

// Level is the severity of a finding.
type Level string

// The levels. With a warning pods run, but something is missing, slow or unsafe. With an error,
// some or all pods cannot run.
const (
	OK      Level = "ok"
	Warning Level = "warning"
	Error   Level = "error"
)

// Finding is the result of one check of one object.
type Finding struct {
	Level Level `json:"level"`
	// Check is the name of the check, such as "cni".
	Check string `json:"check"`
	// The text of the finding: its object, such as a file, and the state of it.
	What string `json:"what"`
	// Do says what to type. It is empty if the level is OK.
	Do string `json:"do,omitempty"`
}

func (f Finding) String() string {
	line := fmt.Sprintf("%-8s%s: %s", f.Level, f.Check, f.What)
	if f.Do != "" {
		line += "\n        → " + f.Do
	}
	return line
}

// Node is what the checks examine.
type Node struct {
	// Config is complete and valid.
	Config config.Config
	// Root is the directory in which files of the node are read: "/", except in tests.
	Root string
	// DataDirs are the root and the state directory of containerd.
	DataDirs []string
	// Endpoint is the socket of the CRI.
	Endpoint string
	// RuntimeVersion returns the name and the version of the OCI runtime of a handler, such as
	// "runc", "1.3.3"; "" if they are not known.
	RuntimeVersion func(ctx context.Context, handler string) (name, version string, err error)
}

// examine is one check. It returns at least one finding.
type examine func(ctx context.Context, n Node) []Finding

// local are the checks that need nothing but this node.
var local = []struct {
	name    string
	examine examine
}{
	{"kernel", kernel},
	{"clock", clock},
	{"cgroup", cgroups},
	{"lsm", securityModules},
	{"runtime", runtimes},
	{"cni", networks},
	{"registry", hostFiles},
	{"limits", limits},
	{"disk", disks},
	{"kubelet", kubelet},
	{"cdi", devices},
	{"nri", plugins},
	{"leftovers", otherRuntimes},
}

// Local runs all checks except those that need a network. It takes milliseconds.
func (n Node) Local(ctx context.Context) []Finding {
	var all []Finding
	for _, c := range local {
		found, err := guard.Value(ctx, "check "+c.name, func() ([]Finding, error) { return c.examine(ctx, n), nil })
		if err != nil { // a panic, which is logged
			found = []Finding{{Level: Warning, Check: c.name, What: "not checked: " + err.Error(), Do: "report this bug"}}
		}
		for i := range found {
			found[i].Check = c.name
			found[i].clean()
		}
		all = append(all, found...)
	}
	return all
}

// clean makes the texts safe to print: they can have parts from files, registries and plugins.
func (f *Finding) clean() { f.What, f.Do = Printable(f.What), Printable(f.Do) }

// Printable replaces the characters by which a text could control the terminal, and bytes that are
// not UTF-8.
func Printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, text)
}

// Problems returns the findings that are not OK.
func Problems(all []Finding) []Finding {
	var problems []Finding
	for _, f := range all {
		if f.Level != OK {
			problems = append(problems, f)
		}
	}
	return problems
}

// HasErrors reports whether there is a finding with level Error.
func HasErrors(all []Finding) bool {
	for _, f := range all {
		if f.Level == Error {
			return true
		}
	}
	return false
}

func ok(format string, args ...any) Finding {
	return Finding{Level: OK, What: fmt.Sprintf(format, args...)}
}

// warning returns a finding; do says what to type.
func warning(do, format string, args ...any) Finding {
	return Finding{Level: Warning, What: fmt.Sprintf(format, args...), Do: do}
}

// failure returns a finding with level Error; do says what to type.
func failure(do, format string, args ...any) Finding {
	return Finding{Level: Error, What: fmt.Sprintf(format, args...), Do: do}
}

// orOK returns problems, or one OK finding if there are none.
func orOK(problems []Finding, format string, args ...any) []Finding {
	if len(problems) == 0 {
		return []Finding{ok(format, args...)}
	}
	return problems
}
