// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"testing"

	"github.com/containerd/containerd/v2/core/leases"
)

// undeletable is a lease store that deletes no lease, as after the daemon was killed.
type undeletable struct{ LeaseStore }

func (undeletable) Delete(context.Context, leases.Lease, ...leases.DeleteOpt) error { return nil }

// TestUnfinishedPull checks that the content of a pull that a killed daemon did not finish is kept
// until the next pull or the removal of the image.
func TestUnfinishedPull(t *testing.T) {
	for _, c := range []struct {
		name string
		next func(t *testing.T, m *Manager, ref string)
	}{
		{"pulled again", func(t *testing.T, m *Manager, ref string) {
			if _, err := m.Pull(t.Context(), spec(ref), nil, nil); err != nil {
				t.Fatal(err)
			}
			must(t, m.Remove(t.Context(), spec(ref)))
		}},
		{"removed", func(t *testing.T, m *Manager, ref string) { must(t, m.Remove(t.Context(), spec(ref))) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, reg := newNode(t), newRegistry(t)
			ref := reg.add(t, "app:v1", newImage(t, 3, nil))
			reached, release := reg.hold(t)
			store := n.deps.Leases
			n.deps.Leases = undeletable{store}
			killed := n.start(t, Options{})
			ended := make(chan error)
			go func() {
				_, err := killed.Pull(t.Context(), spec(ref), nil, nil)
				ended <- err
			}()
			<-reached
			must(t, killed.Close())
			if err := <-ended; err == nil {
				t.Fatal("the pull of a killed daemon succeeded")
			}
			release()
			n.deps.Leases = store
			if left, err := store.List(n.ctx); err != nil || len(left) != 1 {
				t.Fatalf("leases %v, %v, want that of the pull", left, err)
			}

			m := n.start(t, Options{})
			if left, err := store.List(n.ctx); err != nil || len(left) != 1 {
				t.Fatalf("leases after a restart %v, %v, want that of the pull", left, err)
			}
			c.next(t, m, ref)
			n.checkEmpty(t)
		})
	}
}
