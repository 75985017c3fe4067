// SPDX-License-Identifier: Apache-2.0

package group

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/errdefs"

	"github.com/containerd-lite/containerd-lite/internal/sharing"
)

// Service has the calls by which a task joins a running shim, and by which it is
// called off. Their messages are those of the task service's Connect. A shim that
// is about to end answers errdefs.ErrUnavailable to both joins; to JoinPod, which
// announces the first task of a pod, one that has no room for a pod answers
// errdefs.ErrResourceExhausted.
const (
	Service = "containerd.lite.shim.v1.Group"
	Join    = "Join"
	JoinPod = "JoinPod"
	Leave   = "Leave"
)

const (
	// maxPath is what fits into sockaddr_un with its end mark, see unix(7).
	maxPath = 106

	// hashSize is how much of the hash is in a path, in bytes, and maxNumber how
	// many digits a slot has at most.
	hashSize  = 24
	maxNumber = 5
)

// Group is a set of tasks that may share a shim.
type Group struct {
	path string // of its slots, without their numbers
	pods sharing.Pods
}

// New returns the group of a name. The address of containerd is part of its
// identity, as two of them may use one socket directory.
func New(dir, containerd, namespace, name string, pods sharing.Pods) (Group, error) {
	id := fmt.Sprintf("lite\x00%s\x00%s\x00%d\x00%s", containerd, namespace, pods, name)
	hash := sha256.Sum256([]byte(id))
	path := filepath.Join(dir, hex.EncodeToString(hash[:hashSize]))
	if len(path)+1+maxNumber > maxPath {
		return Group{}, fmt.Errorf("shim socket: directory %s is longer than %d bytes: set a shorter socket_dir: %w",
			dir, maxPath-hashSize*2-2-maxNumber, errdefs.ErrInvalidArgument)
	}
	return Group{path: path, pods: pods}, nil
}

// Claim returns the slot of a shim that waits for the task: one that runs, or
// the one that launch starts on a socket.
func (g Group) Claim(ctx context.Context, id string, launch func(Slot, *os.File) error) (Slot, error) {
	slot, joined, err := g.find(ctx, id)
	if joined || err != nil {
		return slot, err
	}
	unlock, err := slot.Lock(ctx)
	if err != nil {
		return slot, err
	}
	defer unlock()
	// Another start may have been faster.
	slot, joined, err = g.find(ctx, id)
	if joined || err != nil {
		return slot, err
	}
	socket, err := slot.Listen()
	if err != nil {
		return slot, err
	}
	defer socket.Close()
	if err := launch(slot, socket); err != nil {
		slot.Remove()
		return slot, err
	}
	return slot, nil
}

// find asks the shims of the group. If none takes the task, the slot is one for
// a new shim, provided that the caller holds the lock.
func (g Group) find(ctx context.Context, id string) (slot Slot, joined bool, err error) {
	if !g.pods.Shared() {
		slot = g.slot(0)
		joined, err = slot.Join(ctx, Join, id)
		return slot, joined, err
	}
	occupied := map[Slot]bool{}
	for _, slot := range g.slots() {
		joined, err := slot.Join(ctx, JoinPod, id)
		if joined {
			// To be asked first by the next: it has room, or was the last that had.
			_ = os.Chtimes(slot.path, time.Now(), time.Now())
			return slot, true, nil
		}
		// A shim that is full, or stuck, is left alone.
		occupied[slot] = err != nil
	}
	for n := 0; ctx.Err() == nil; n++ {
		if slot := g.slot(n); !occupied[slot] {
			return slot, false, nil
		}
	}
	return Slot{}, false, fmt.Errorf("shim of the group: %w", ctx.Err())
}

func (g Group) slot(n int) Slot { return Slot{path: g.path + "." + strconv.Itoa(n)} }

// slots returns the slots that have a socket, the one that was joined last first.
func (g Group) slots() []Slot {
	entries, _ := os.ReadDir(filepath.Dir(g.path)) // there is none yet
	joined := map[Slot]time.Time{}
	for _, entry := range entries {
		number, ok := strings.CutPrefix(entry.Name(), filepath.Base(g.path)+".")
		n, err := strconv.Atoi(number)
		if !ok || err != nil {
			continue
		}
		if info, err := entry.Info(); err == nil {
			joined[g.slot(n)] = info.ModTime()
		}
	}
	return slices.SortedFunc(maps.Keys(joined), func(a, b Slot) int { return joined[b].Compare(joined[a]) })
}
