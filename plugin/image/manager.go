// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/core/events"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/transfer"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"golang.org/x/sync/semaphore"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/internal/guard"
)

// namespace is where Kubernetes' images live in containerd.
const namespace = "k8s.io"

// Registries says how registries are reached.
type Registries struct {
	// HostsDirs are the directories with a hosts.toml per registry. The first that
	// knows a registry counts.
	HostsDirs []string
	// Mirrors are the URLs to ask for a registry before itself; "*" stands for each
	// that has none. With any, HostsDirs are not looked into.
	Mirrors map[string][]string
	// Headers are sent with every request to a registry.
	Headers http.Header
	// Credentials are for pulls that bring none, by the host that may see them.
	Credentials map[string]*runtimeapi.AuthConfig
}

// Options are the settings of a Manager, from containerd's images table.
type Options struct {
	Registries
	// Snapshotter unpacks images and holds containers' root file systems.
	Snapshotter string
	// Handlers are the names of the runtime handlers: pulls for another one are
	// refused. None accepts any.
	Handlers []string
	// HandlerSnapshotters names the snapshotters of those handlers that do not use
	// Snapshotter.
	HandlerSnapshotters map[string]string
	// SnapshotRoots are the directories of the snapshotters, by name: what the
	// kubelet calls the image file system.
	SnapshotRoots map[string]string
	// ContentRoot is the directory of containerd's content store.
	ContentRoot string
	// Pinned are the references of images to be kept from garbage collection.
	Pinned []string
	// ProgressTimeout ends a pull that waits this long for a registry without
	// getting a byte; 0 is no limit.
	ProgressTimeout time.Duration
	// MaxConcurrentDownloads limits the layers fetched at a time by all pulls
	// together; 0 leaves it to the settings of the transfer service.
	MaxConcurrentDownloads int
	// LayerFetchBuffer is the size in bytes of the parts in which one layer is
	// fetched in parallel; 0 leaves it to the settings of the transfer service.
	LayerFetchBuffer int
	// DiscardLayers leaves the packed layers to containerd's garbage collection
	// once they are unpacked. Another snapshotter cannot unpack the image then.
	DiscardLayers bool
	// SyncLayers writes each layer to the disk before it counts as unpacked, so that
	// none loses files with the power.
	SyncLayers bool
	// Annotated reports whether a snapshotter gets the labels by which a remote one
	// finds a layer in its registry; nil: none does.
	Annotated func(snapshotter string) bool
	// StatsPeriod is the time from one sample of disk usage to the next.
	StatsPeriod time.Duration
}

// Deps is what the package needs of containerd.
type Deps struct {
	Images   images.Store
	Content  ContentStore
	Leases   LeaseStore
	Events   events.Subscriber
	Transfer transfer.Transferrer
	// Applier unpacks layers for snapshotters that the transfer service does not
	// unpack for.
	Applier diff.Applier
	// Snapshotter returns nil for a snapshotter that is not loaded.
	Snapshotter func(name string) snapshots.Snapshotter
	// Handle makes the client's view of an image record.
	Handle func(images.Image) client.Image
}

// ContentStore is the part of containerd's content store that is read.
type ContentStore interface {
	content.InfoReaderProvider
	Walk(ctx context.Context, fn content.WalkFunc, filters ...string) error
}

// LeaseStore is the part of containerd's lease manager that guards pulls.
type LeaseStore interface {
	Create(ctx context.Context, opts ...leases.Opt) (leases.Lease, error)
	Delete(ctx context.Context, lease leases.Lease, opts ...leases.DeleteOpt) error
	List(ctx context.Context, filters ...string) ([]leases.Lease, error)
}

// FromClient returns the Deps of a containerd client that runs in containerd's
// own process: pulls hand the transfer service a source that cannot be sent to
// another one.
func FromClient(c *client.Client) Deps {
	return Deps{
		Images:      c.ImageService(),
		Content:     c.ContentStore(),
		Leases:      c.LeasesService(),
		Events:      c.EventService(),
		Transfer:    c.TransferService(),
		Applier:     c.DiffService(),
		Snapshotter: c.SnapshotService,
		Handle: func(i images.Image) client.Image {
			return client.NewImageWithPlatform(c, i, platforms.Default())
		},
	}
}

// Manager is the image service. Its methods may be called concurrently.
type Manager struct {
	opts   Options
	deps   Deps
	pinned map[string]bool
	// credentials are those of the options.
	credentials map[string]credentials

	index     *index
	pulls     *flights
	abandoned abandoned
	sampler   *sampler
	downloads *semaphore.Weighted
	// ownUnpack has the snapshotters that the transfer service does not unpack for.
	ownUnpack sync.Map

	cancel  context.CancelFunc
	workers sync.WaitGroup
}

// New reads the images that containerd has and starts to follow their changes,
// until Close or the end of ctx. A snapshotter that is configured but not loaded is
// an error: no container could be made with it. Disk usage is not known without
// [Manager.Sample].
func New(ctx context.Context, opts Options, deps Deps) (*Manager, error) {
	if opts.StatsPeriod <= 0 {
		return nil, fmt.Errorf("stats_collect_period: must be above zero: %w", errdefs.ErrInvalidArgument)
	}
	snapshotters := opts.snapshotters()
	for _, name := range snapshotters {
		if deps.Snapshotter(name) == nil {
			return nil, fmt.Errorf("snapshotter %s: not loaded, see `ctr plugins ls`: %w", name, errdefs.ErrNotFound)
		}
	}
	creds, err := parseHostAuths(opts.Credentials)
	if err != nil {
		return nil, err
	}
	if opts.Annotated == nil {
		opts.Annotated = func(string) bool { return false }
	}
	opts.ContentRoot = existing(opts.ContentRoot)
	opts.SnapshotRoots = maps.Clone(opts.SnapshotRoots)
	for name, root := range opts.SnapshotRoots {
		opts.SnapshotRoots[name] = existing(root)
	}
	ctx, cancel := context.WithCancel(namespaces.WithNamespace(ctx, namespace))
	m := &Manager{
		opts:        opts,
		deps:        deps,
		pinned:      pinnedNames(opts.Pinned),
		credentials: creds,
		index:       newIndex(deps.Images, deps.Content),
		pulls:       newFlights(ctx),
		sampler:     newSampler(opts, deps),
		cancel:      cancel,
	}
	if opts.MaxConcurrentDownloads > 0 {
		m.downloads = semaphore.NewWeighted(int64(opts.MaxConcurrentDownloads))
	}
	feed := m.subscribe(ctx)
	if err := errors.Join(m.reload(ctx), m.abandoned.find(ctx, deps.Leases)); err != nil {
		cancel()
		return nil, err
	}
	guard.Go(ctx, &m.workers, "watch images", func() { m.watch(ctx, feed) })
	return m, nil
}

// Close ends the pulls under way and all background work, and waits for them.
func (m *Manager) Close() error {
	m.pulls.close()
	m.cancel()
	m.workers.Wait()
	return nil
}

// snapshotters returns the configured snapshotters, the default one first.
func (o *Options) snapshotters() []string {
	names := []string{o.Snapshotter}
	for _, name := range o.HandlerSnapshotters {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names[1:])
	return names
}

// errClosed answers calls after Close.
var errClosed = fmt.Errorf("image service is stopping: %w", errdefs.ErrUnavailable)
