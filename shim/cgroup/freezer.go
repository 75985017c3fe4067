// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// freezeTries bounds the wait for a cgroup to freeze.
const freezeTries = 100

// freeze is best effort: the host may have no freezer.
func (g *Group) freeze() {
	for range freezeTries {
		if g.writeFreezer("1", "FROZEN") != nil || g.frozen() {
			return
		}
		time.Sleep(pause)
	}
}

func (g *Group) frozen() bool {
	if dir, ok := g.unified(); ok {
		n, err := readKey(filepath.Join(dir, "cgroup.events"), "frozen")
		return err == nil && n == 1
	}
	dir, err := g.dir("freezer")
	if err != nil {
		return false
	}
	state, err := os.ReadFile(filepath.Join(dir, "freezer.state"))
	return err == nil && strings.TrimSpace(string(state)) == "FROZEN"
}

// Paused reports whether this cgroup itself is frozen. A frozen ancestor does not count.
func (g *Group) Paused() (bool, error) {
	file := "freezer.self_freezing"
	if _, ok := g.unified(); ok {
		file = "cgroup.freeze"
	}
	dir, err := g.dir("freezer")
	if err != nil {
		return false, err
	}
	state, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		return false, fmt.Errorf("cgroup: freezer: %w", err)
	}
	return strings.TrimSpace(string(state)) == "1", nil
}

// Thawed reports whether neither the cgroup nor an ancestor is frozen or about to be.
func (g *Group) Thawed() bool {
	if dir, ok := g.unified(); ok {
		asked, err := os.ReadFile(filepath.Join(dir, "cgroup.freeze"))
		return err == nil && strings.TrimSpace(string(asked)) == "0" && !g.frozen()
	}
	dir, err := g.dir("freezer")
	if err != nil {
		return false
	}
	state, err := os.ReadFile(filepath.Join(dir, "freezer.state"))
	return err == nil && strings.TrimSpace(string(state)) == "THAWED"
}

// Thaw resumes the processes of a frozen cgroup. It does nothing if there is no freezer or the
// cgroup is gone.
func (g *Group) Thaw() {
	_ = g.writeFreezer("0", "THAWED")
}

// thawAll thaws the descendants of the cgroup, too. On v1 a frozen process does not die, even if a
// nested container froze it, and blocks the teardown of its PID namespace.
func (g *Group) thawAll() {
	g.Thaw()
	if _, ok := g.unified(); ok {
		return // on v2 a frozen process dies
	}
	top, err := g.dir("freezer")
	if err != nil {
		return
	}
	_ = filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && path != top {
			_ = write(filepath.Join(path, "freezer.state"), "THAWED")
		}
		return nil // a cgroup that is gone needs no thaw
	})
}

func (g *Group) writeFreezer(v2, v1 string) error {
	if dir, ok := g.unified(); ok {
		return write(filepath.Join(dir, "cgroup.freeze"), v2)
	}
	dir, err := g.dir("freezer")
	if err != nil {
		return err
	}
	return write(filepath.Join(dir, "freezer.state"), v1)
}
