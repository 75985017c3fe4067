// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/core/events"
	"github.com/containerd/containerd/v2/core/events/exchange"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/metadata"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/transfer/local"
	"github.com/containerd/containerd/v2/core/unpack"
	"github.com/containerd/containerd/v2/pkg/archive/compression"
	"github.com/containerd/containerd/v2/pkg/imageverifier"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	contentlocal "github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/containerd/containerd/v2/plugins/snapshots/native"
	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	bolt "go.etcd.io/bbolt"
	"go.uber.org/goleak"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestMain(m *testing.M) {
	if err := log.SetLevel("panic"); err != nil {
		panic(err)
	}
	// An event exchange cannot be closed.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/docker/go-events.(*Broadcaster).run"))
}

// Snapshotters of a test node.
const (
	defaultSnapshotter = "native"
	otherSnapshotter   = "other" // unknown to the transfer service
)

// handlers are the runtime handlers with a snapshotter of their own.
var handlers = map[string]string{"kata": otherSnapshotter}

// node runs containerd's real metadata, content, lease, event and transfer services in one process.
// Layers are verified but not extracted, because that would need root for mounts.
type node struct {
	ctx     context.Context
	dir     string
	db      *metadata.DB
	images  images.Store
	content content.Store
	leases  leases.Manager
	client  *client.Client
	applier *checkingApplier
	deps    Deps
	// verifiers are the image verifiers that are called for each pull.
	verifiers map[string]imageverifier.ImageVerifier
	// remotes are the snapshotters, by name.
	remotes map[string]*remoteSnapshotter
}

func newNode(t *testing.T) *node {
	t.Helper()
	n := &node{
		ctx:       namespaces.WithNamespace(t.Context(), namespace),
		dir:       t.TempDir(),
		verifiers: map[string]imageverifier.ImageVerifier{},
		remotes:   map[string]*remoteSnapshotter{},
	}
	blobs, err := contentlocal.NewStore(filepath.Join(n.dir, "content"))
	must(t, err)
	bdb, err := bolt.Open(filepath.Join(n.dir, "meta.db"), 0o600, nil)
	must(t, err)
	t.Cleanup(func() { bdb.Close() })
	snapshotters := map[string]snapshots.Snapshotter{}
	for _, name := range []string{defaultSnapshotter, otherSnapshotter} {
		sn, err := native.NewSnapshotter(filepath.Join(n.dir, name))
		must(t, err)
		t.Cleanup(func() { sn.Close() })
		n.remotes[name] = &remoteSnapshotter{Snapshotter: sn}
		snapshotters[name] = n.remotes[name]
	}
	bus := exchange.NewExchange()
	n.db = metadata.NewDB(bdb, blobs, snapshotters, metadata.WithEventsPublisher(bus))
	must(t, n.db.Init(n.ctx))
	n.images, n.content, n.leases = metadata.NewImageStore(n.db), n.db.ContentStore(), metadata.NewLeaseManager(n.db)
	n.applier = &checkingApplier{content: n.content}
	service := local.NewTransferService(n.content, n.images, local.TransferConfig{
		Leases:                 n.leases,
		MaxConcurrentDownloads: 3,
		Verifiers:              n.verifiers,
		UnpackPlatforms: []unpack.Platform{{
			Platform:       platforms.OnlyOS(platforms.DefaultSpec()),
			SnapshotterKey: defaultSnapshotter,
			Snapshotter:    n.db.Snapshotter(defaultSnapshotter),
			Applier:        n.applier,
		}},
	})
	n.client, err = client.New("", client.WithDefaultPlatform(platforms.Default()), client.WithServices(
		client.WithImageStore(n.images),
		client.WithContentStore(n.content),
		client.WithLeasesService(n.leases),
		client.WithEventService(bus),
		client.WithTransferService(service),
		client.WithSnapshotters(n.db.Snapshotters()),
		client.WithDiffService(n.applier),
	))
	must(t, err)
	n.deps = FromClient(n.client)
	return n
}

// start runs a Manager on the node. It sets the fields of opts that describe the node.
func (n *node) start(t *testing.T, opts Options) *Manager {
	t.Helper()
	opts.Snapshotter = defaultSnapshotter
	opts.StatsPeriod = time.Hour
	opts.ContentRoot = filepath.Join(n.dir, "content")
	opts.SnapshotRoots = map[string]string{
		defaultSnapshotter: filepath.Join(n.dir, defaultSnapshotter),
		otherSnapshotter:   filepath.Join(n.dir, otherSnapshotter),
	}
	m, err := New(t.Context(), opts, n.deps)
	must(t, err)
	t.Cleanup(func() { must(t, m.Close()) })
	return m
}

// names returns the names of containerd's image records.
func (n *node) names(t *testing.T) []string {
	t.Helper()
	all, err := n.images.List(n.ctx)
	must(t, err)
	var names []string
	for _, img := range all {
		names = append(names, img.Name)
	}
	slices.Sort(names)
	return names
}

// checkEmpty fails if there are image records or leases, or content or snapshots after a garbage
// collection.
func (n *node) checkEmpty(t *testing.T) {
	t.Helper()
	if names := n.names(t); len(names) > 0 {
		t.Errorf("image records left: %q", names)
	}
	left, err := n.leases.List(n.ctx)
	must(t, err)
	if len(left) > 0 {
		t.Errorf("leases left: %v", left)
	}
	_, err = n.db.GarbageCollect(n.ctx)
	must(t, err)
	must(t, n.content.Walk(n.ctx, func(info content.Info) error {
		t.Errorf("content left: %s", info.Digest)
		return nil
	}))
	must(t, n.db.Snapshotter(defaultSnapshotter).Walk(n.ctx, func(_ context.Context, info snapshots.Info) error {
		t.Errorf("snapshot left: %s", info.Name)
		return nil
	}))
}

// checkingApplier replaces the extraction of layers: it reads a layer and returns the digest of its
// tar.
type checkingApplier struct {
	content content.Provider
	synced  atomic.Int32 // layers that were requested to be synced
}

func (a *checkingApplier) Apply(ctx context.Context, desc ocispec.Descriptor, _ []mount.Mount, opts ...diff.ApplyOpt) (ocispec.Descriptor, error) {
	var config diff.ApplyConfig
	for _, opt := range opts {
		if err := opt(ctx, desc, &config); err != nil {
			return ocispec.Descriptor{}, err
		}
	}
	if config.SyncFs {
		a.synced.Add(1)
	}
	ra, err := a.content.ReaderAt(ctx, desc)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	defer ra.Close()
	tar, err := compression.DecompressStream(content.NewReader(ra))
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	defer tar.Close()
	sum := digest.SHA256.Digester()
	size, err := io.Copy(sum.Hash(), tar)
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: sum.Digest(), Size: size}, err
}

func (a *checkingApplier) Compare(context.Context, []mount.Mount, []mount.Mount, ...diff.Opt) (ocispec.Descriptor, error) {
	return ocispec.Descriptor{}, errdefs.ErrNotImplemented
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wait polls until done returns true. It is for changes that follow an event of containerd. It
// fails at the deadline of the test.
func wait(t *testing.T, what string, done func() bool) {
	t.Helper()
	for !done() {
		select {
		case <-t.Context().Done():
			t.Fatal("timeout while waiting for " + what)
		case <-time.After(time.Millisecond):
		}
	}
}

// checkClass fails unless err is of an errdefs class.
func checkClass(t *testing.T, err, class error) {
	t.Helper()
	if !errors.Is(err, class) {
		t.Errorf("error is not %v: %v", class, err)
	}
}

// write writes a blob into the node's content store.
func (n *node) write(t *testing.T, mediaType, data string, labels map[string]string) ocispec.Descriptor {
	t.Helper()
	desc := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromString(data), Size: int64(len(data))}
	ref := fmt.Sprintf("test-%s", desc.Digest)
	must(t, content.WriteBlob(n.ctx, n.content, ref, strings.NewReader(data), desc, content.WithLabels(labels)))
	return desc
}

// has reports whether a blob is in the node's content store.
func (n *node) has(dgst string) bool {
	_, err := n.content.Info(n.ctx, digest.Digest(dgst))
	return err == nil
}

func withNamespace(t *testing.T, ns string) context.Context {
	t.Helper()
	return namespaces.WithNamespace(t.Context(), ns)
}

func spec(ref string) *runtimeapi.ImageSpec { return &runtimeapi.ImageSpec{Image: ref} }

func handlerSpec(ref, handler string) *runtimeapi.ImageSpec {
	return &runtimeapi.ImageSpec{Image: ref, RuntimeHandler: handler}
}

// noEvents is an event service without events.
type noEvents struct{}

func (*noEvents) Subscribe(context.Context, ...string) (<-chan *events.Envelope, <-chan error) {
	return nil, nil
}

// countingSnapshotter counts how often each snapshot is measured.
type countingSnapshotter struct {
	snapshots.Snapshotter
	usages map[string]int
	broken bool // Walk fails
}

func (s *countingSnapshotter) Usage(ctx context.Context, key string) (snapshots.Usage, error) {
	if s.usages == nil {
		s.usages = map[string]int{}
	}
	s.usages[key]++
	return s.Snapshotter.Usage(ctx, key)
}

func (s *countingSnapshotter) Walk(ctx context.Context, fn snapshots.WalkFunc, filters ...string) error {
	if s.broken {
		return errdefs.ErrInternal
	}
	return s.Snapshotter.Walk(ctx, fn, filters...)
}
