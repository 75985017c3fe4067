// SPDX-License-Identifier: Apache-2.0

// Package docs_test keeps cri.md complete and true: it compares the document with the descriptors
// of the CRI and with the tests of the repository.
package docs_test

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const (
	notImplemented = "Not implemented"
	notApplicable  = "Not applicable"
)

// later are the RPCs that may be missing. A message that only these RPCs use has a single row, *,
// for all its fields.
var later = []string{"CheckpointContainer", "CheckpointPod", "RestorePod"}

// row is a line of a table of cri.md.
type row struct {
	line    int
	section []string // names in the heading above: a service, or messages
	names   []string // RPCs, or fields of any of the messages
	text    string   // our behavior
	tests   string   // dir TestName, TestName/subtest; dir TestName
}

var backquoted = regexp.MustCompile("`([^`]+)`")

// readRows returns the rows of cri.md. A table belongs to the heading above it, which names a
// service or messages.
func readRows(t *testing.T) []row {
	t.Helper()
	text, err := os.ReadFile("cri.md")
	if err != nil {
		t.Fatal(err)
	}
	var (
		rows    []row
		section []string
	)
	for i, line := range strings.Split(string(text), "\n") {
		if strings.HasPrefix(line, "#") {
			section = quotedNames(line)
		}
		if !strings.HasPrefix(line, "| `") || len(section) == 0 {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		if len(cells) != 3 {
			t.Errorf("cri.md:%d: %d cells, want 3", i+1, len(cells))
			continue
		}
		rows = append(rows, row{
			line:    i + 1,
			section: section,
			names:   quotedNames(cells[0]),
			text:    strings.TrimSpace(cells[1]),
			tests:   strings.TrimSpace(cells[2]),
		})
	}
	return rows
}

func quotedNames(s string) []string {
	var names []string
	for _, m := range backquoted.FindAllStringSubmatch(s, -1) {
		names = append(names, m[1])
	}
	return names
}

// contract is the CRI as in its descriptors: the RPCs of each service and the fields of each
// message, by name.
type contract struct {
	services map[string][]string // RPCs
	messages map[string][]string // fields
	later    map[string]bool     // messages that only RPCs of later have
}

func readContract() contract {
	c := contract{services: map[string][]string{}, messages: map[string][]string{}, later: map[string]bool{}}
	services := (&runtimeapi.VersionRequest{}).ProtoReflect().Descriptor().ParentFile().Services()
	var now, rest []protoreflect.MessageDescriptor
	for i := range services.Len() {
		service := services.Get(i)
		for j := range service.Methods().Len() {
			rpc := service.Methods().Get(j)
			c.services[string(service.Name())] = append(c.services[string(service.Name())], string(rpc.Name()))
			if slices.Contains(later, string(rpc.Name())) {
				rest = append(rest, rpc.Input(), rpc.Output())
			} else {
				now = append(now, rpc.Input(), rpc.Output())
			}
		}
	}
	for _, m := range now {
		c.add(m, false)
	}
	for _, m := range rest {
		c.add(m, true)
	}
	return c
}

// add adds a message and the messages of its fields.
func (c *contract) add(m protoreflect.MessageDescriptor, isLater bool) {
	name := string(m.Name())
	if _, known := c.messages[name]; known {
		return
	}
	c.messages[name] = nil
	if isLater {
		c.later[name] = true
	}
	for i := range m.Fields().Len() {
		field := m.Fields().Get(i)
		c.messages[name] = append(c.messages[name], string(field.Name()))
		inner := field.Message()
		if field.IsMap() {
			inner = field.MapValue().Message()
		}
		if inner != nil {
			c.add(inner, isLater)
		}
	}
}

// parts returns the RPCs or fields of a service or message.
func (c *contract) parts(name string) ([]string, bool) {
	if parts, ok := c.services[name]; ok {
		return parts, true
	}
	parts, ok := c.messages[name]
	if c.later[name] {
		return []string{"*"}, ok
	}
	return parts, ok
}

// TestEveryRPCAndFieldHasOneRow fails for an RPC or field without exactly one row.
func TestEveryRPCAndFieldHasOneRow(t *testing.T) {
	c := readContract()
	lines := map[string][]int{}
	for _, r := range readRows(t) {
		for _, of := range r.section {
			for _, name := range r.names {
				lines[of+"."+name] = append(lines[of+"."+name], r.line)
			}
		}
	}
	owners := slices.Sorted(maps.Keys(c.services))
	owners = append(owners, slices.Sorted(maps.Keys(c.messages))...)
	for _, owner := range owners {
		parts, _ := c.parts(owner)
		for _, part := range parts {
			switch at := lines[owner+"."+part]; {
			case len(at) == 0:
				t.Errorf("%s.%s has no row in cri.md", owner, part)
			case len(at) > 1:
				t.Errorf("%s.%s has rows in lines %v of cri.md, want one", owner, part, at)
			}
		}
	}
}

// TestRowsAreOfTheCRI fails for a row whose RPC or field is not in the CRI.
func TestRowsAreOfTheCRI(t *testing.T) {
	c := readContract()
	for _, r := range readRows(t) {
		var parts []string
		for _, of := range r.section {
			have, ok := c.parts(of)
			if !ok {
				t.Errorf("cri.md:%d: no %s in the CRI", r.line, of)
			}
			parts = append(parts, have...)
		}
		for _, name := range r.names {
			if !slices.Contains(parts, name) {
				t.Errorf("cri.md:%d: no %s in %s", r.line, name, strings.Join(r.section, ", "))
			}
		}
	}
}

// TestRowsNameTests fails for a row without a test or a reason, and for a test that does not exist.
func TestRowsNameTests(t *testing.T) {
	tests := readTests(t)
	for _, r := range readRows(t) {
		excused := strings.HasPrefix(r.text, notApplicable) || strings.HasPrefix(r.text, notImplemented)
		if r.text == "" || r.tests == "" && !excused {
			t.Errorf("cri.md:%d: %v: describe our behavior and name its tests, or begin with %q", r.line, r.names, notApplicable)
		}
		if r.tests == "" {
			continue
		}
		for _, of := range strings.Split(r.tests, "; ") {
			dir, names, _ := strings.Cut(of, " ")
			for _, name := range strings.Split(names, ", ") {
				if problem := tests.problem(dir, name); problem != "" {
					t.Errorf("cri.md:%d: %s %s: %s", r.line, dir, name, problem)
				}
			}
		}
	}
}

// TestOnlyCheckpointsAreNotImplemented prints how many rows are not implemented, and fails unless
// they are those of the RPCs in later, which have an issue of their own.
func TestOnlyCheckpointsAreNotImplemented(t *testing.T) {
	var missing []string
	for _, r := range readRows(t) {
		if strings.HasPrefix(r.text, notImplemented) {
			missing = append(missing, r.names...)
		}
	}
	t.Logf("%d rows of cri.md are not implemented: %s", len(missing), strings.Join(missing, ", "))
	slices.Sort(missing)
	if !slices.Equal(missing, later) {
		t.Errorf("want exactly these not implemented: %v", later)
	}
}
