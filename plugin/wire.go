// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/log"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"tags.cncf.io/container-device-interface/pkg/cdi"

	"github.com/containerd-lite/containerd-lite/plugin/activity"
	"github.com/containerd-lite/containerd-lite/plugin/adopt"
	"github.com/containerd-lite/containerd-lite/plugin/config"
	"github.com/containerd-lite/containerd-lite/plugin/container"
	"github.com/containerd-lite/containerd-lite/plugin/cri"
	"github.com/containerd-lite/containerd-lite/plugin/event"
	"github.com/containerd-lite/containerd-lite/plugin/host"
	"github.com/containerd-lite/containerd-lite/plugin/image"
	"github.com/containerd-lite/containerd-lite/plugin/network"
	"github.com/containerd-lite/containerd-lite/plugin/nri"
	"github.com/containerd-lite/containerd-lite/plugin/paths"
	"github.com/containerd-lite/containerd-lite/plugin/pod"
	"github.com/containerd-lite/containerd-lite/plugin/runtime"
	"github.com/containerd-lite/containerd-lite/plugin/specgen"
	"github.com/containerd-lite/containerd-lite/plugin/stats"
	"github.com/containerd-lite/containerd-lite/plugin/stream"
)

// New builds the CRI. It serves after [Service.Run] has recovered the pods and containers of this
// host.
func New(ctx context.Context, deps Deps) (*Service, error) {
	ctx, cancel := context.WithCancel(namespaces.WithNamespace(context.WithoutCancel(ctx), namespace))
	s := &Service{
		cancel: cancel,
		saved:  deps.Client.ContainerService(),
		began:  time.Now(),
	}
	if err := s.build(ctx, deps); err != nil {
		cancel()
		return nil, err
	}
	return s, nil
}

func (s *Service) build(ctx context.Context, deps Deps) error {
	l, err := newLeaves(ctx, deps)
	if err != nil {
		return err
	}
	bundles, work := l.paths.Bundles(namespace)
	s.bundles = []string{bundles, work}
	s.events = event.NewHub(time.Now)
	s.activity = new(activity.Log)
	s.plugins = nri.New(deps.NRI)
	s.network = network.New(networkOptions(deps.Config.Runtime))
	if s.images, err = image.New(ctx, imageOptions(deps), image.FromClient(deps.Client)); err != nil {
		return err
	}
	s.pods = pod.New(ctx, s.podDeps(l))
	s.containers = container.New(ctx, s.containerDeps(l))
	if s.streams, err = newStreams(deps.Config.Server, s.containers, s.pods); err != nil {
		return err
	}
	s.reloader = &reloader{
		deps: deps, live: l.live, specs: l.specs, containerd: l.containerd,
		images: s.images, network: s.network, streams: s.streams,
	}
	s.server = cri.New(cri.Deps{
		Pods:       s.pods,
		Containers: s.containers,
		Images:     s.images,
		Streams:    s.streams,
		Events:     s.events,
		Activity:   s.activity,
		Stats:      stats.NewCollector(l.cgroups, s.images, rates(deps.Config.Runtime)),
		Node: node{
			network:  s.network,
			plugins:  s.plugins,
			config:   l.live,
			specs:    l.specs,
			dirs:     newDirs(deps),
			checks:   newChecks(l.live, l.specs, newDirs(deps)),
			warnings: l.containerd.Deprecations,
		},

		Containerd:    runtime.Inspector{Containers: s.saved, Sandboxes: deps.Client.SandboxStore()},
		RuntimeType:   l.live.RuntimeType,
		ShowEnvValues: func() bool { return l.live.Get().Runtime.Lite.InspectEnvValues },
	})
	return nil
}

// leaves are the components that several managers use and that use no manager.
type leaves struct {
	live       *config.Live
	containerd *runtime.Client
	records    *adopt.Store
	paths      paths.Paths
	labels     *host.SELinux
	cgroups    *stats.Reader
	facts      host.Facts
	files      host.PodFiles
	specs      *specgen.Live
	shims      runtime.Launcher
}

func newLeaves(ctx context.Context, deps Deps) (l leaves, err error) {
	settings := deps.Config.Runtime
	l.live = config.NewLive(deps.Config)
	if l.facts, err = host.Read(); err != nil {
		return l, err
	}
	if l.labels, err = newLabels(ctx, settings, l.facts); err != nil {
		return l, err
	}
	if err := cdi.Configure(cdi.WithSpecDirs(settings.CDISpecDirs...)); err != nil {
		return l, fmt.Errorf("CDI: %w", err)
	}
	if l.cgroups, err = stats.NewReader("/"); err != nil {
		return l, err
	}
	l.containerd = runtime.New(deps.Client, deps.Metadata)
	l.paths = deps.paths()
	l.records = adopt.New(l.containerd, runtime.NewBuiltInCRI(deps.Client), l.live, l.paths, namespace)
	l.shims = deps.launcher(l.paths)
	l.files = host.PodFiles{Paths: l.paths}
	l.specs = specgen.NewLive(&specgen.Generator{
		Config:    settings,
		BaseSpecs: deps.BaseSpecs,
		Facts:     l.facts,
		Features:  l.containerd.Features(ctx, settings),
		Files:     l.files,
	})
	return l, nil
}

func (s *Service) podDeps(l leaves) pod.Deps {
	return pod.Deps{
		Records:    l.records,
		Namespaces: network.NewPinner(l.paths, netnsDir(l.live.Get().Runtime, l.paths)),
		Network:    s.network,
		Files:      l.files,
		Tasks: pod.Runner{
			Containerd: l.records, Handlers: l.live, Spec: l.specs.PodTask, CgroupOf: l.specs.PodCgroup,
			BuiltIn: adopt.EncodePod, Paths: l.paths, Shims: l.shims,
		},
		Handlers:  l.live,
		Labels:    l.labels,
		Events:    s.events,
		Plugins:   s.plugins,
		BootID:    l.facts.BootID,
		CheckShim: runtime.CheckShim,
		NewID:     newID,
		Hostname:  os.Hostname,
		Now:       time.Now,
		Unprivileged: func() pod.Unprivileged {
			now := l.live.Get().Runtime
			return pod.Unprivileged{Ports: now.EnableUnprivilegedPorts, ICMP: now.EnableUnprivilegedICMP}
		},
	}
}

func (s *Service) containerDeps(l leaves) container.Deps {
	bundles, _ := l.paths.Bundles(namespace)
	return container.Deps{
		Containerd: l.records,
		Pods:       s.pods,
		Images:     s.images,
		Handlers:   l.live,
		Specs:      l.specs,
		Labels:     l.labels,
		Events:     s.events,
		Plugins:    s.plugins,
		Dirs:       container.Dirs{Paths: l.paths},
		Logs: container.Logs{
			ShimWritten: runtime.ShimLogs{Bundles: bundles},
			MaxLine:     func() int { return l.live.Get().Runtime.MaxContainerLogLineSize },
		},
		Execs: container.ExecSyncOptions{
			Shims: runtime.ShimExecs{Bundles: bundles},
			Drain: func() time.Duration { return l.live.Get().Runtime.DrainExecSyncIOTimeout.Or(0) },
		},
		NewID:       newID,
		Now:         time.Now,
		OOMKilled:   l.cgroups.OOMKilled,
		Snapshotter: func(handler string) string { return snapshotter(l.live.Get(), handler) },
	}
}

// newID returns the ID of a new pod, container or exec: 64 hexadecimal digits, as other container
// runtimes use.
func newID() string {
	id := make([]byte, 32)
	_, _ = rand.Read(id) // never fails
	return hex.EncodeToString(id)
}

func (d Deps) paths() paths.Paths { return paths.Paths{Root: d.RootDir, State: d.StateDir} }

// launcher returns what starts the shims of pods.
func (d Deps) launcher(dirs paths.Paths) runtime.Launcher {
	bundles, _ := dirs.Bundles(namespace)
	return runtime.Launcher{
		Sockets: dirs.Shims(), Bundles: bundles, Address: d.Endpoint, Events: d.EventsEndpoint, Env: d.ShimEnv,
	}
}

func netnsDir(r config.Runtime, dirs paths.Paths) string {
	if r.NetNSMountsUnderStateDir {
		return dirs.NetNS()
	}
	return "" // the default directory of ip-netns(8)
}

func networkOptions(r config.Runtime) network.Options {
	handlers := map[string]network.HandlerConf{}
	for name, h := range r.Containerd.Runtimes {
		if h.CNIConfDir != "" {
			handlers[name] = network.HandlerConf{ConfDir: h.CNIConfDir, MaxConfNum: h.CNIMaxConfNum}
		}
	}
	return network.Options{
		BinDirs:       r.CNI.BinDirs,
		ConfDir:       r.CNI.ConfDir,
		MaxConfNum:    r.CNI.MaxConfNum,
		ConfTemplate:  r.CNI.ConfTemplate,
		Handlers:      handlers,
		SetupSerially: r.CNI.SetupSerially,
		IPPref:        r.CNI.IPPref,
	}
}

// snapshotters returns the snapshotters of the runtime handlers that do not use the default, by
// handler.
func snapshotters(c config.Config) map[string]string {
	names := map[string]string{}
	for _, name := range c.Runtime.HandlerNames() {
		if s := ownSnapshotter(&c, name); s != "" {
			names[name] = s
		}
	}
	return names
}

// ownSnapshotter returns the snapshotter of a runtime handler that does not use the default, or "".
func ownSnapshotter(c *config.Config, handler string) string {
	return cmp.Or(c.Runtime.Containerd.Runtimes[handler].Snapshotter, c.Images.RuntimePlatforms[handler].Snapshotter)
}

// snapshotter returns the snapshotter of a runtime handler.
func snapshotter(c *config.Config, handler string) string {
	return cmp.Or(ownSnapshotter(c, handler), c.Images.Snapshotter)
}

func registries(images config.Images) image.Registries {
	credentials := map[string]*runtimeapi.AuthConfig{}
	for host, a := range images.Registry.Credentials() {
		credentials[host] = &runtimeapi.AuthConfig{
			Username: a.Username, Password: a.Password, Auth: a.Auth, IdentityToken: a.IdentityToken,
		}
	}
	return image.Registries{
		HostsDirs:   images.Registry.ConfigDirs(),
		Mirrors:     images.Registry.MirrorEndpoints(),
		Headers:     images.Registry.Headers,
		Credentials: credentials,
	}
}

func imageOptions(deps Deps) image.Options {
	images := deps.Config.Images
	var pinned []string
	for _, ref := range images.PinnedImages {
		pinned = append(pinned, ref)
	}
	return image.Options{
		Registries:             registries(images),
		Snapshotter:            images.Snapshotter,
		Handlers:               deps.Config.Runtime.HandlerNames(),
		HandlerSnapshotters:    snapshotters(deps.Config),
		SnapshotRoots:          deps.SnapshotterRoots,
		ContentRoot:            deps.paths().Content(),
		Pinned:                 pinned,
		ProgressTimeout:        images.ImagePullProgressTimeout.Or(0),
		MaxConcurrentDownloads: images.MaxConcurrentDownloads,
		LayerFetchBuffer:       images.ConcurrentLayerFetchBuffer,
		DiscardLayers:          images.DiscardUnpackedLayers,
		SyncLayers:             images.ImagePullWithSyncFs,
		Annotated: func(snapshotter string) bool {
			return !images.DisableSnapshotAnnotations || slices.Contains(deps.RemoteSnapshotters, snapshotter)
		},
		StatsPeriod: time.Duration(images.StatsCollectPeriod) * time.Second,
	}
}

func newLabels(ctx context.Context, r config.Runtime, facts host.Facts) (*host.SELinux, error) {
	if r.EnableSelinux && !facts.SELinux {
		log.G(ctx).Warn("enable_selinux is set, but SELinux is disabled on this host: containers run without labels")
	}
	return host.NewSELinux(r.EnableSelinux, r.SelinuxCategoryRange)
}

func rates(r config.Runtime) stats.Rates {
	return stats.Rates{Period: r.StatsCollectPeriod.Or(0), Retention: r.StatsRetentionPeriod.Or(0)}
}

func newStreams(s config.Server, containers *container.Manager, pods *pod.Manager) (*stream.Server, error) {
	options, err := streamOptions(s)
	if err != nil {
		return nil, err
	}
	return stream.New(options, containers, pods)
}

func streamOptions(s config.Server) (options stream.Options, err error) {
	options = stream.Options{
		Address:     s.StreamServerAddress,
		Port:        s.StreamServerPort,
		IdleTimeout: s.StreamIdleTimeout.Or(0),
	}
	if s.EnableTLSStreaming {
		options.TLS, err = stream.TLS(s.X509KeyPairStreaming.TLSCertFile, s.X509KeyPairStreaming.TLSKeyFile)
	}
	return options, err
}
