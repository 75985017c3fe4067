// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
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
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/internal/join"
	"github.com/containerd-lite/containerd-lite/plugin/metrics"
)

// namespace is the namespace of containerd that has the images of Kubernetes.
const namespace = "k8s.io"

// Registries are the settings for access to registries.
type Registries struct {
	// HostsDirs are the directories with a hosts.toml per registry. The first directory that has
	// the registry is used.
	HostsDirs []string
	// Mirrors are the URLs to ask before the registry itself, by registry; "*" stands for each
	// registry that has no entry. If there are any mirrors, HostsDirs are ignored.
	Mirrors map[string][]string
	// Headers are sent with every request to a registry.
	Headers http.Header
	// Credentials are used for pulls that bring none. The key is the host that may receive them.
	Credentials map[string]*runtimeapi.AuthConfig
}

// Options are the settings of a Manager, from the images table of config.toml.
type Options struct {
	Registries
	// Snapshotter is the default snapshotter, for images and root file systems of containers.
	Snapshotter string
	// Handlers are the names of the runtime handlers. A pull for another handler is refused. An
	// empty list allows any.
	Handlers []string
	// HandlerSnapshotters are the snapshotters of the handlers that do not use Snapshotter.
	HandlerSnapshotters map[string]string
	// SnapshotRoots are the directories of the snapshotters, by name. The kubelet calls them image
	// file systems.
	SnapshotRoots map[string]string
	// ContentRoot is the directory of containerd's content store.
	ContentRoot string
	// Pinned are the references of images that the kubelet's garbage collection must keep.
	Pinned []string
	// ProgressTimeout ends a pull that waits for its registry and receives no data for this long; 0
	// means no limit.
	ProgressTimeout time.Duration
	// MaxConcurrentDownloads limits the downloads at a time of all pulls together: layers, or parts
	// of layers; 0 uses the setting of the transfer service.
	MaxConcurrentDownloads int
	// LayerFetchBuffer is the size in bytes of the parts in which one layer is fetched in parallel;
	// 0 uses the setting of the transfer service.
	LayerFetchBuffer int
	// DiscardLayers lets containerd's garbage collection remove the compressed layers once they are
	// unpacked. The image cannot be unpacked for another snapshotter then.
	DiscardLayers bool
	// SyncLayers syncs each layer to disk before it counts as unpacked, so that a power failure
	// loses no files of a layer.
	SyncLayers bool
	// Annotated reports whether a snapshotter gets the labels by which a remote snapshotter finds a
	// layer in its registry. nil means that none does.
	Annotated func(snapshotter string) bool
	// StatsPeriod is the time from one sample of disk usage to the next.
	StatsPeriod time.Duration
}

// Deps are the services of containerd that the package uses.
type Deps struct {
	Images   images.Store
	Content  ContentStore
	Leases   LeaseStore
	Events   events.Subscriber
	Transfer transfer.Transferrer
	// Applier unpacks layers for snapshotters that the unpack_config of the transfer service lacks.
	Applier diff.Applier
	// Snapshotter returns nil for a snapshotter that is not loaded.
	Snapshotter func(name string) snapshots.Snapshotter
	// Handle returns the image of containerd's client for an image record.
	Handle func(images.Image) client.Image
}

// ContentStore is the part of containerd's content store that the package reads.
type ContentStore interface {
	content.InfoReaderProvider
	Walk(ctx context.Context, fn content.WalkFunc, filters ...string) error
}

// LeaseStore is the part of containerd's lease manager that protects pulls from garbage collection.
type LeaseStore interface {
	Create(ctx context.Context, opts ...leases.Opt) (leases.Lease, error)
	Delete(ctx context.Context, lease leases.Lease, opts ...leases.DeleteOpt) error
	List(ctx context.Context, filters ...string) ([]leases.Lease, error)
}

// FromClient returns the Deps of a containerd client. The client must run in containerd's own
// process: the source that a pull passes to the transfer service cannot be sent to another process.
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
	live     *atomic.Pointer[settings]
	unpinned map[string]bool // names whose pin is left to be removed; see Prepare
	deps     Deps

	index   *index
	pulls   *join.Calls[string]
	stale   staleLeases
	sampler *sampler
	// ownUnpack is a set of snapshotters that the unpack_config of the transfer service lacks.
	ownUnpack sync.Map

	cancel  context.CancelFunc
	workers sync.WaitGroup
}

// New returns a Manager that has read the images of containerd and follows their changes until
// Close is called or ctx ends. A configured snapshotter that is not loaded is NotFound, because no
// container could be created with it. Disk usage is unknown until [Manager.Sample] runs.
func New(ctx context.Context, opts Options, deps Deps) (*Manager, error) {
	if opts.StatsPeriod <= 0 {
		return nil, fmt.Errorf("stats_collect_period: must be above zero: %w", errdefs.ErrInvalidArgument)
	}
	first, err := newSettings(opts, deps)
	if err != nil {
		return nil, err
	}
	live := new(atomic.Pointer[settings])
	live.Store(first)
	ctx, cancel := context.WithCancel(namespaces.WithNamespace(ctx, namespace))
	m := &Manager{
		live:     live,
		unpinned: map[string]bool{},
		deps:     deps,
		index:    newIndex(deps.Images, deps.Content),
		pulls:    join.New[string](join.Options{Name: "pull", Policy: join.Cancel, Joined: metrics.Joined("PullImage")}),
		sampler:  newSampler(live, opts.StatsPeriod, deps),
		cancel:   cancel,
	}
	sub := m.subscribe(ctx)
	if err := errors.Join(m.reload(ctx), m.stale.load(ctx, deps.Leases)); err != nil {
		cancel()
		return nil, err
	}
	context.AfterFunc(ctx, m.pulls.Close)
	guard.Go(ctx, &m.workers, "watch images", func() { m.watch(ctx, sub) })
	return m, nil
}

// Close cancels the pulls in progress and all background work, and waits until they have ended.
func (m *Manager) Close() error {
	m.pulls.Close()
	m.cancel()
	m.workers.Wait()
	return nil
}
