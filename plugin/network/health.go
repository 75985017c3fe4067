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
	statusVersion = "1.1.0" // the first CNI version with STATUS
	statusMaxAge  = 3 * time.Second
)

// health is the result of CNI STATUS for one loaded configuration. Run refreshes it.
type health struct {
	lists   []*libcni.NetworkConfigList
	known   chan struct{} // closed when the first result is stored
	last    atomic.Pointer[statusResult]
	pending atomic.Bool // a refresh is queued or running
}

type statusResult struct {
	err error
	at  time.Time
}

// newHealth returns nil if no network has a CNI version with STATUS.
func newHealth(networks []cniNetwork) *health {
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

// outdated is a health to refresh, with the plugins to ask.
type outdated struct {
	*health
	cni *libcni.CNIConfig
}

// requestRefresh enqueues a refresh if the cached result is stale and none is pending.
func (h *health) requestRefresh(cni *libcni.CNIConfig, queue chan<- outdated) {
	last := h.last.Load()
	if last != nil && time.Since(last.at) < statusMaxAge {
		return
	}
	if !h.pending.CompareAndSwap(false, true) {
		return
	}
	select {
	case queue <- outdated{h, cni}:
	default: // the queue is full; the next call tries again
		h.pending.Store(false)
	}
}

// refresh runs CNI STATUS and stores the result. Only one goroutine may call it.
func (h *health) refresh(ctx context.Context, cni *libcni.CNIConfig) {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	result := &statusResult{}
	for _, list := range h.lists {
		err := guard.Call(ctx, "CNI STATUS", func() error { return cni.GetStatusNetworkList(ctx, list) })
		if err != nil {
			result.err = fmt.Errorf("CNI network %q: status: %w", list.Name, err)
			break
		}
	}
	result.at = time.Now()
	if h.last.Swap(result) == nil {
		close(h.known)
	}
	h.pending.Store(false)
}
