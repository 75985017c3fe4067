// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/version"

	"github.com/containerd-lite/containerd-lite/internal/guard"
)

const (
	statusVersion      = "1.1.0" // the first CNI version with STATUS
	statusTimeout      = 5 * time.Second
	statusMaxAge       = 3 * time.Second
	firstStatusTimeout = 2 * time.Second
)

// health is what the plugins of one loaded configuration say of themselves.
// Run asks them; anybody may read the last answer.
type health struct {
	lists []*libcni.NetworkConfigList
	known chan struct{} // closed with the first answer
	last  atomic.Pointer[answer]
	asked atomic.Bool // an answer is on its way
}

type answer struct {
	err error
	at  time.Time
}

// newHealth returns nil if no network's version of CNI has STATUS.
func newHealth(networks []network) *health {
	h := &health{known: make(chan struct{})}
	for _, n := range networks {
		if ok, err := version.GreaterThanOrEqualTo(n.list.CNIVersion, statusVersion); ok && err == nil {
			h.lists = append(h.lists, n.list)
		}
	}
	if h.lists == nil {
		return nil
	}
	return h
}

// renew hands h to the one who asks, if its last answer is old and nobody did.
func (h *health) renew(queue chan<- *health) {
	last := h.last.Load()
	if last != nil && time.Since(last.at) < statusMaxAge {
		return
	}
	if !h.asked.CompareAndSwap(false, true) {
		return
	}
	select {
	case queue <- h:
	default: // the next who wants to know tries again
		h.asked.Store(false)
	}
}

// ask runs CNI STATUS. Only one goroutine may call it.
func (h *health) ask(ctx context.Context, cni *libcni.CNIConfig) {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	a := &answer{}
	for _, list := range h.lists {
		err := guard.Call(ctx, "CNI STATUS", func() error { return cni.GetStatusNetworkList(ctx, list) })
		if err != nil {
			a.err = fmt.Errorf("CNI network %q: status: %w", list.Name, err)
			break
		}
	}
	a.at = time.Now()
	if h.last.Swap(a) == nil {
		close(h.known)
	}
	h.asked.Store(false)
}
