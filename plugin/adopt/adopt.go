// SPDX-License-Identifier: Apache-2.0

package adopt

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"sync/atomic"

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

// BuiltInCRI is what the built-in CRI has saved. [runtime.BuiltInCRI] implements it.
type BuiltInCRI interface {
	List(ctx context.Context, kind runtime.Kind) ([]runtime.BuiltIn, error)
	HasContainer(ctx context.Context, id string) (bool, error)
	KeepMetadata(ctx context.Context, id string) error
	SaveResources(ctx context.Context, id string, resources []byte) error
	StopSandbox(ctx context.Context, sandboxer, id string) error
	DeleteLease(ctx context.Context, podID string) error
}

// New returns a Store. dirs are the directories of the CRI.
func New(c Containerd, builtIn BuiltInCRI, handlers Handlers, dirs paths.Paths, namespace string) *Store {
	bundles, _ := dirs.Bundles(namespace)
	return &Store{Containerd: c, BuiltInCRI: builtIn, Handlers: handlers, Paths: dirs, Bundles: bundles}
}

// Store has the methods of its Containerd, and adds the pods and containers of the built-in CRI to
// the lists. Changes to them are saved in the format of the built-in CRI.
type Store struct {
	Containerd
	BuiltInCRI BuiltInCRI
	Handlers   Handlers
	Paths      paths.Paths
	Bundles    string // containerd's directory for the bundles of tasks

	pods sync.Map // adoptedPod by ID

	ours     sync.Once
	handlers map[string]string // of pods of ours, by ID; see handlerOfPod
}

// Sandboxes returns the records of all pods.
func (s *Store) Sandboxes(ctx context.Context) ([]runtime.Record, error) {
	records, err := s.Containerd.Sandboxes(ctx)
	if err != nil {
		return nil, err
	}
	s.eachOfOurs(ctx, "pod", records, s.resumePod)
	records = slices.DeleteFunc(records, func(r runtime.Record) bool { return r.JSON == nil })
	var refused atomic.Int32
	ours := len(records)
	records, err = s.convert(ctx, runtime.KindPod, records, func(ctx context.Context, found runtime.BuiltIn) (any, error) {
		r := s.pod(ctx, found)
		if len(r.Unfinished) > 0 {
			refused.Add(1)
		}
		return r, nil
	})
	if n := len(records) - ours - int(refused.Load()); n > 0 {
		log.G(ctx).WithFields(log.Fields{"count": n, "refused": refused.Load()}).Info("adopted pods of containerd's built-in CRI; they keep their shims")
	}
	return records, err
}

// Containers returns the records of all containers. It must be called after Sandboxes.
func (s *Store) Containers(ctx context.Context) ([]runtime.Record, error) {
	records, err := s.Containerd.Containers(ctx)
	if err != nil {
		return nil, err
	}
	s.eachOfOurs(ctx, "container", records, s.resumeContainer)
	ours := len(records)
	records, err = s.convert(ctx, runtime.KindContainer, records, func(ctx context.Context, found runtime.BuiltIn) (any, error) {
		return s.container(ctx, found)
	})
	if n := len(records) - ours; n > 0 {
		log.G(ctx).WithField("count", n).Info("adopted containers of containerd's built-in CRI; they keep their shims")
	}
	return records, err
}

// convert appends the records of the built-in CRI of one kind to records.
func (s *Store) convert(ctx context.Context, kind runtime.Kind, records []runtime.Record,
	one func(ctx context.Context, found runtime.BuiltIn) (any, error),
) ([]runtime.Record, error) {
	all, err := s.BuiltInCRI.List(ctx, kind)
	if err != nil {
		return nil, err
	}
	converted := make([][]byte, len(all))
	var group errgroup.Group
	group.SetLimit(parallel)
	for i, found := range all {
		group.Go(guard.Func(ctx, "adopt "+found.ID, func() error {
			record, err := one(ctx, found)
			if err == nil {
				converted[i], err = json.Marshal(record)
			}
			if err != nil {
				log.G(ctx).WithError(err).WithField("container", found.ID).
					Error("container of containerd's built-in CRI not adopted: it is not listed, its process runs on, and the kubelet starts another; " +
						"remove it (ctr -n k8s.io tasks kill -s KILL ID, then containers rm ID)")
			}
			return nil
		}))
	}
	_ = group.Wait() // only a panic, which is logged
	for i, found := range all {
		if converted[i] != nil {
			records = append(records, runtime.Record{ID: found.ID, JSON: converted[i]})
		}
	}
	return records, nil
}
