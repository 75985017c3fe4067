// SPDX-License-Identifier: Apache-2.0

package service

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// ledger records the operations that the daemon of a guest has acknowledged, as printed by the
// guest before its power failed: lines such as "made pod ID", "removing container ID" and "exited
// container ID CODE". It compares them with the objects that the guest lists after the next boot.
type ledger struct {
	last   map[string]string // the last operation on each object
	exits  map[string]string // exit codes by container
	listed map[string]bool   // in this boot
	wrong  []string
	freed  string // orphaned addresses at the start of this boot
	said   []string
	pods   int // created in this boot
}

func newLedger() *ledger {
	return &ledger{last: map[string]string{}, exits: map[string]string{}, listed: map[string]bool{}}
}

// boot starts the record of another boot.
func (l *ledger) boot() { l.said, l.pods = nil, 0 }

// begun reports whether the first pod of this boot has been created.
func (l *ledger) begun() bool { return l.pods > 0 }

// write adds a line of the guest.
func (l *ledger) write(line string) {
	switch words := strings.Fields(line); {
	case line == "listed everything":
		l.compare()
	case line == "cleared":
		for object := range l.last {
			l.last[object] = "removed"
		}
	case len(words) == 2 && words[0] == "freed":
		l.freed = words[1]
	case len(words) < 3:
		l.said = append(l.said, line)
	case words[0] == "made" || words[0] == "removing" || words[0] == "removed":
		l.last[words[1]+" "+words[2]] = words[0]
		if words[0] == "made" && words[1] == "pod" {
			l.pods++
		}
	case words[0] == "exited":
		l.exits[words[2]] = words[3]
	case words[0] == "listed":
		l.list(words[1], words[2], words[3:])
	default:
		l.said = append(l.said, line)
	}
}

// list adds an object that the daemon lists, with its state and exit code.
func (l *ledger) list(kind, id string, state []string) {
	object := kind + " " + id
	l.listed[object] = true
	if l.last[object] == "removed" {
		l.fail("%s was removed, and is listed", object)
	}
	if len(state) > 0 && (state[0] == "SANDBOX_READY" || state[0] == "CONTAINER_RUNNING") {
		l.fail("%s is %s after a power failure", object, state[0])
	}
	if code, found := l.exits[id]; found && (state[0] != "CONTAINER_EXITED" || state[1] != code) {
		l.fail("%s had exit code %s, and is listed as %v", object, code, state)
	}
}

// compare finds objects that are missing in the list.
func (l *ledger) compare() {
	for object, last := range l.last {
		if last == "made" && !l.listed[object] {
			l.fail("%s was made, and is not listed", object)
		}
	}
	clear(l.listed)
}

func (l *ledger) fail(format string, args ...any) {
	l.wrong = append(l.wrong, fmt.Sprintf(format, args...))
}

// count returns a summary of the objects at the last line of the guest.
func (l *ledger) count() string {
	var made, removing, removed int
	for _, last := range l.last {
		switch last {
		case "made":
			made++
		case "removing":
			removing++
		case "removed":
			removed++
		}
	}
	return fmt.Sprintf("%d objects acknowledged, %d under removal, %d gone, %d exit codes; %s orphaned addresses before",
		made, removing, removed, len(l.exits), l.freed)
}

func TestLedger(t *testing.T) {
	for _, c := range []struct {
		name, before, after string
		wrong               []string
	}{
		{"as it was", "made pod a\nmade container b\nexited container b 7\n", "listed pod a SANDBOX_NOTREADY 0\nlisted container b CONTAINER_EXITED 7\n", nil},
		{"in progress", "removing pod a\n", "listed pod b SANDBOX_NOTREADY\n", nil},
		{"lost", "made pod a\n", "", []string{"pod a was made, and is not listed"}},
		{"back", "removed pod a\n", "listed pod a SANDBOX_NOTREADY\n", []string{"pod a was removed, and is listed"}},
		{"alive", "made pod a\n", "listed pod a SANDBOX_READY\n", []string{"pod a is SANDBOX_READY after a power failure"}},
		{
			"another exit", "made container b\nexited container b 7\n", "listed container b CONTAINER_EXITED 255\n",
			[]string{"container b had exit code 7, and is listed as [CONTAINER_EXITED 255]"},
		},
		{"cleared", "made pod a\ncleared\n", "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLedger()
			for line := range strings.Lines(c.before + c.after + "listed everything\n") {
				l.write(strings.TrimSuffix(line, "\n"))
			}
			if !slices.Equal(l.wrong, c.wrong) {
				t.Errorf("got %q, want %q", l.wrong, c.wrong)
			}
		})
	}
}
