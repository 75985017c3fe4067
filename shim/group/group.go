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

	"github.com/containerd-lite/containerd-lite/internal/shimoption"
	"github.com/containerd-lite/containerd-lite/internal/shimprocess"
)

// Service is the ttrpc service by which a task joins a running shim (Join, JoinPod for the first
// task of a pod) or cancels that (Leave). The messages are those of Connect in the Task API. Both
// joins return errdefs.ErrUnavailable if the shim is about to exit. JoinPod returns
// errdefs.ErrResourceExhausted if the shim has no room for another pod.
const (
	Service = "containerd.lite.shim.v1.Group"
	Join    = "Join"
	JoinPod = "JoinPod"
	Leave   = "Leave"
)

const (
	// hashSize is the length of the hash in a path, in bytes. maxNumber is the maximum number of
	// digits of a slot.
	hashSize  = 24
	maxNumber = 5
)

// Group is a set of tasks that may share a shim.
type Group struct {
	path string // of the slots, without their numbers
	pods shimoption.Pods
}

// New returns the group of a name. The address of containerd is part of the group's identity,
// because two instances of containerd may use one socket directory. The error is
// errdefs.ErrInvalidArgument if dir is too long for a socket path.
func New(dir, containerd, namespace, name string, pods shimoption.Pods) (Group, error) {
	id := fmt.Sprintf("lite\x00%s\x00%s\x00%d\x00%s", containerd, namespace, pods, name)
	hash := sha256.Sum256([]byte(id))
	path := filepath.Join(dir, hex.EncodeToString(hash[:hashSize]))
	if len(path)+1+maxNumber > shimprocess.MaxSocketPath {
		return Group{}, fmt.Errorf("shim socket: directory %s is longer than %d bytes (set a shorter socket_dir): %w",
			dir, shimprocess.MaxSocketPath-hashSize*2-2-maxNumber, errdefs.ErrInvalidArgument)
	}
	return Group{path: path, pods: pods}, nil
}

// Claim returns the slot of a shim that waits for the task: a running shim, or one that launch
// starts on a new socket.
func (g Group) Claim(ctx context.Context, id string, launch func(Slot, *os.File) error) (Slot, error) {
	slot, joined, err := g.findSlot(ctx, id)
	if joined || err != nil {
		return slot, err
	}
	unlock, err := slot.Lock(ctx)
	if err != nil {
		return slot, err
	}
	defer unlock()
	// Another start may have started a shim before this one had the lock.
	slot, joined, err = g.findSlot(ctx, id)
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

// findSlot asks the shims of the group to wait for the task. If none does, it returns a slot for a
// new shim, which is free as long as the caller holds the lock.
func (g Group) findSlot(ctx context.Context, id string) (slot Slot, joined bool, err error) {
	if !g.pods.Shared() {
		slot = g.slot(0)
		joined, err = slot.Join(ctx, Join, id)
		return slot, joined, err
	}
	occupied := map[Slot]bool{}
	for _, slot := range g.slots() {
		joined, err := slot.Join(ctx, JoinPod, id)
		if joined {
			// findSlot asks this shim first the next time. It may have room for more pods, and the
			// shims before it had none.
			_ = os.Chtimes(slot.path, time.Now(), time.Now())
			return slot, true, nil
		}
		// A slot whose shim is full or does not answer stays occupied.
		occupied[slot] = err != nil
	}
	for n := 0; ctx.Err() == nil; n++ {
		if slot := g.slot(n); !occupied[slot] {
			return slot, false, nil
		}
	}
	return Slot{}, false, fmt.Errorf("find a slot for a shim: %w", ctx.Err())
}

func (g Group) slot(n int) Slot { return Slot{path: g.path + "." + strconv.Itoa(n)} }

// slots returns the slots that have a socket, the most recently joined one first.
func (g Group) slots() []Slot {
	entries, _ := os.ReadDir(filepath.Dir(g.path)) // before the first start there is no directory
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
