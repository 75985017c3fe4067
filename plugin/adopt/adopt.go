// SPDX-License-Identifier: Apache-2.0

package adopt

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"golang.org/x/sync/errgroup"

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/plugin/config"
	"github.com/containerd-lite/containerd-lite/plugin/container"
	"github.com/containerd-lite/containerd-lite/plugin/paths"
	"github.com/containerd-lite/containerd-lite/plugin/pod"
	"github.com/containerd-lite/containerd-lite/plugin/runtime"
)

const (
	// parallel is how many records are converted at the same time.
	parallel = 16
	// taskTimeout bounds the question for the state of a pod's task: its shim may be stuck.
	taskTimeout = time.Second
)

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
	DeleteLease(ctx context.Context, podID string) error
}

// Store saves and lists records as the Containerd that it contains. Its lists also have the pods
// and containers of the built-in CRI.
type Store struct {
	Containerd
	StockCRI StockCRI
	Handlers Handlers
	Paths    paths.Paths
	Bundles  string // containerd's directory for the bundles of tasks

	pods podsByID
}

// known is what is remembered of a pod, ours or of the built-in CRI.
type known struct {
	Handler string `json:"handler"`
	Stock   bool   `json:"stock"`
}

// podsByID are the pods that were listed.
type podsByID struct {
	mu   sync.Mutex
	byID map[string]known
}

func (p *podsByID) set(id string, pod known) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.byID == nil {
		p.byID = map[string]known{}
	}
	p.byID[id] = pod
}

func (p *podsByID) get(id string) (pod known, listed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	pod, listed = p.byID[id]
	return pod, listed
}

func (p *podsByID) forget(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.byID, id)
}

// Sandboxes returns the records of all pods.
func (s *Store) Sandboxes(ctx context.Context) ([]runtime.Record, error) {
	records, err := s.Containerd.Sandboxes(ctx)
	if err != nil {
		return nil, err
	}
	saved := make(map[string]bool, len(records))
	for _, r := range records {
		saved[r.ID] = true
		var pod known
		_ = json.Unmarshal(r.JSON, &pod) // reported when the record is recovered
		s.pods.set(r.ID, pod)
	}
	return s.convert(ctx, runtime.KindPod, records, func(ctx context.Context, stock runtime.Stock) (any, error) {
		if saved[stock.ID] {
			return nil, nil
		}
		return s.pod(ctx, stock), nil
	})
}

// SaveSandbox saves the record of a pod. A pod of containerd before 2.0 has no sandbox yet.
func (s *Store) SaveSandbox(ctx context.Context, id string, record any) error {
	err := s.Containerd.SaveSandbox(ctx, id, record)
	if r, ok := record.(*pod.Record); ok && errdefs.IsNotFound(err) {
		return s.CreateSandbox(ctx, runtime.Sandbox{ID: id, Labels: r.Config.GetLabels(), Record: record})
	}
	return err
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

// SaveContainer saves the record of a container. For one of the built-in CRI it writes the status
// file first, which the built-in CRI would read after a change back.
func (s *Store) SaveContainer(ctx context.Context, id string, record any) error {
	if r, ok := record.(*container.Record); ok && r.Runtime.Stock {
		if err := writeStatus(s.statusFile(id), r); err != nil {
			return err
		}
	}
	return s.Containerd.SaveContainer(ctx, id, record)
}

// DeleteSandbox removes the record of a pod. Of a pod of the built-in CRI it removes the image
// volumes and the lease, too.
func (s *Store) DeleteSandbox(ctx context.Context, id string) error {
	if pod, _ := s.pods.get(id); pod.Stock {
		if err := s.removeImageVolumes(id); err != nil {
			return err
		}
		if err := s.StockCRI.DeleteLease(ctx, id); err != nil {
			return err
		}
	}
	if err := s.Containerd.DeleteSandbox(ctx, id); err != nil {
		return err
	}
	s.pods.forget(id)
	return nil
}

// convert appends the records of the built-in CRI of one kind to records. one returns nil for a
// record that is saved already.
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
			if err == nil && record != nil {
				converted[i], err = json.Marshal(record)
			}
			if err != nil {
				log.G(ctx).WithError(err).WithField(string(kind), stock.ID).
					Error("record of containerd's built-in CRI not adopted; stop and remove it with stock containerd")
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

// handlerOf returns the runtime handler of a pod: the one of its request or, if that runs another
// shim in this configuration, the first with the shim that the pod has.
func (s *Store) handlerOf(requested, runtimeType string) (string, error) {
	name, handler, err := s.Handlers.Handler(requested)
	if err == nil && handler.Type == runtimeType {
		return name, nil
	}
	for _, name := range s.Handlers.HandlerNames() {
		if _, handler, err := s.Handlers.Handler(name); err == nil && handler.Type == runtimeType {
			return name, nil
		}
	}
	return "", fmt.Errorf("no runtime handler has the type %s (add one to config.toml): %w", runtimeType, errdefs.ErrFailedPrecondition)
}
