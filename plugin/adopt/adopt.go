// SPDX-License-Identifier: Apache-2.0

package adopt

import (
	"context"
	"encoding/json"

	"github.com/containerd/log"
	"golang.org/x/sync/errgroup"

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/plugin/config"
	"github.com/containerd-lite/containerd-lite/plugin/container"
	"github.com/containerd-lite/containerd-lite/plugin/paths"
	"github.com/containerd-lite/containerd-lite/plugin/pod"
	"github.com/containerd-lite/containerd-lite/plugin/runtime"
)

// parallel is how many records are converted at the same time.
const parallel = 16

// Handlers returns the configuration of runtime handlers.
type Handlers interface {
	Handler(name string) (resolved string, handler config.Handler, err error)
	HandlerNames() []string
}

// Containerd is what the managers of pods and containers call. [runtime.Client] implements it.
type Containerd interface {
	pod.Records
	container.Containerd
}

// StockCRI is what the built-in CRI has saved. [runtime.StockCRI] implements it.
type StockCRI interface {
	List(ctx context.Context, kind runtime.Kind) ([]runtime.Stock, error)
	KeepPod(ctx context.Context, id string) error
	SaveResources(ctx context.Context, id string, resources []byte) error
	StopSandbox(ctx context.Context, sandboxer, id string) error
	DeleteLease(ctx context.Context, podID string) error
}

// Store is the Containerd that it contains, and has the pods and containers of the built-in CRI,
// too.
type Store struct {
	Containerd
	StockCRI StockCRI
	Handlers Handlers
	Paths    paths.Paths
	Bundles  string // containerd's directory for the bundles of tasks

	pods podsByID
}

// Sandboxes returns the records of all pods.
func (s *Store) Sandboxes(ctx context.Context) ([]runtime.Record, error) {
	records, err := s.Containerd.Sandboxes(ctx)
	if err != nil {
		return nil, err
	}
	return s.convert(ctx, runtime.KindPod, records, func(ctx context.Context, stock runtime.Stock) (any, error) {
		return s.pod(ctx, stock), nil
	})
}

// Containers returns the records of all containers. It must be called after Sandboxes.
func (s *Store) Containers(ctx context.Context) ([]runtime.Record, error) {
	records, err := s.Containerd.Containers(ctx)
	if err != nil {
		return nil, err
	}
	return s.convert(ctx, runtime.KindContainer, records, func(_ context.Context, stock runtime.Stock) (any, error) {
		return s.container(stock)
	})
}

// convert appends the records of the built-in CRI of one kind to records.
func (s *Store) convert(ctx context.Context, kind runtime.Kind, records []runtime.Record,
	one func(ctx context.Context, stock runtime.Stock) (any, error),
) ([]runtime.Record, error) {
	all, err := s.StockCRI.List(ctx, kind)
	if err != nil {
		return nil, err
	}
	converted := make([][]byte, len(all))
	var group errgroup.Group
	group.SetLimit(parallel)
	for i, stock := range all {
		group.Go(guard.Func(ctx, "adopt "+stock.ID, func() error {
			record, err := one(ctx, stock)
			if err == nil {
				converted[i], err = json.Marshal(record)
			}
			if err != nil {
				log.G(ctx).WithError(err).WithField(string(kind), stock.ID).
					Error("record of containerd's built-in CRI not adopted; remove it with stock containerd, or `ctr -n k8s.io containers rm`")
			}
			return nil
		}))
	}
	_ = group.Wait() // only a panic, which is logged
	before := len(records)
	for i, stock := range all {
		if converted[i] != nil {
			records = append(records, runtime.Record{ID: stock.ID, JSON: converted[i]})
		}
	}
	if n := len(records) - before; n > 0 {
		log.G(ctx).WithField("count", n).Infof("adopted records of containerd's built-in CRI of the kind %s", kind)
	}
	return records, nil
}
