// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/metadata"
	"github.com/containerd/containerd/v2/pkg/deprecation"
	"github.com/containerd/containerd/v2/plugins"
	"github.com/containerd/containerd/v2/plugins/services/warning"
	"github.com/containerd/log"
	"github.com/containerd/platforms"
	"github.com/containerd/plugin"
	"github.com/containerd/plugin/registry"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	"github.com/containerd-lite/containerd-lite/internal/cgroup"
	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/plugin/config"
	"github.com/containerd-lite/containerd-lite/plugin/metrics"
	"github.com/containerd-lite/containerd-lite/plugin/nri"
)

// namespace is the containerd namespace of pods and containers of Kubernetes.
const namespace = "k8s.io"

// Deps are the inputs of [New].
type Deps struct {
	// Config is complete and valid.
	Config config.Config
	// BaseSpecs are the base specs of the handlers that have one. They must be copied before a
	// change.
	BaseSpecs map[string]*specs.Spec
	// NRI are the options of the NRI plugins.
	NRI nri.Options
	// Client makes calls in the daemon's process, without a socket, in the namespace k8s.io.
	Client *client.Client
	// Metadata is the database of the same containerd.
	Metadata *metadata.DB
	// RootDir is for data that survives a reboot, StateDir for data that does not. Both exist and
	// are only accessible to root.
	RootDir, StateDir string
	// Endpoint is the socket that containerd listens on.
	Endpoint string
	// EventsEndpoint is the socket on which containerd takes the events of shims, and ShimEnv are
	// the variables that its config sets for shims.
	EventsEndpoint string
	ShimEnv        []string
	// SnapshotterRoots are the directories of the snapshotters that loaded, by name.
	SnapshotterRoots map[string]string
	// RemoteSnapshotters are those whose plugin requests the labels by which it finds a layer in
	// its registry.
	RemoteSnapshotters []string

	loaded *plugin.Set // of containerd
}

func init() {
	images, runtime, server := config.DefaultImages(), config.DefaultRuntime(), config.DefaultServer()
	registry.Register(&plugin.Registration{
		Type:     plugins.CRIServicePlugin,
		ID:       "images",
		Config:   &images,
		Requires: []plugin.Type{plugins.WarningPlugin},
		InitFn:   initImages,
	})
	registry.Register(&plugin.Registration{
		Type:   plugins.CRIServicePlugin,
		ID:     "runtime",
		Config: &runtime,
		InitFn: initRuntime,
	})
	registry.Register(&plugin.Registration{
		Type:   plugins.GRPCPlugin,
		ID:     "cri",
		Config: &server,
		Requires: []plugin.Type{
			plugins.CRIServicePlugin,
			plugins.ContentPlugin,
			plugins.EventPlugin,
			plugins.LeasePlugin,
			plugins.MetadataPlugin,
			plugins.MountManagerPlugin,
			plugins.NRIApiPlugin,
			plugins.SandboxStorePlugin,
			plugins.ServicePlugin,
			plugins.ShimPlugin,
			plugins.SnapshotPlugin,
			plugins.TransferPlugin,
		},
		ConfigMigration: config.Migrate,
		InitFn:          initServer,
	})
}

func initImages(ic *plugin.InitContext) (any, error) {
	images := ic.Config.(*config.Images)
	if err := images.Validate(); err != nil {
		return nil, err
	}
	warnPending(ic.Context, images.Pending())
	ws, err := ic.GetSingle(plugins.WarningPlugin)
	if err != nil {
		return nil, err
	}
	for id, used := range map[deprecation.Warning]bool{
		deprecation.CRIRegistryMirrors: len(images.Registry.Mirrors) > 0,
		deprecation.CRIRegistryConfigs: len(images.Registry.Configs) > 0,
		deprecation.CRIRegistryAuths:   len(images.Registry.Auths) > 0,
	} {
		if used {
			ws.(warning.Service).Emit(ic.Context, id)
		}
	}
	return images, nil
}

func initRuntime(ic *plugin.InitContext) (any, error) {
	runtime := ic.Config.(*config.Runtime)
	if err := runtime.Validate(config.Host{CgroupV2: cgroup.IsV2()}); err != nil {
		return nil, err
	}
	if runtime.Complete() {
		log.G(ic.Context).Infof("handler %s uses the settings of %s in config.toml",
			config.LiteHandler, config.RuncHandler)
	}
	for _, note := range runtime.Notes() {
		log.G(ic.Context).Info(note)
	}
	warnPending(ic.Context, runtime.Pending())
	if systemd, _, others := runtime.CgroupDriver(); len(others) > 0 {
		log.G(ic.Context).Warnf("RuntimeConfig reports SystemdCgroup = %v to the kubelet, but handlers %s differ: "+
			"their containers are not in the cgroups of their pods, and pod limits do not apply to them", systemd, strings.Join(others, ", "))
	}
	return runtime, nil
}

func warnPending(ctx context.Context, keys []string) {
	for _, key := range keys {
		log.G(ctx).Warn(key)
	}
}

// initServer builds the CRI and starts it.
//
// It registers readiness before any step that can fail. Then containerd refuses to start if this
// function returns an error, as if required_plugins named the plugin, and notifies systemd only
// after ready has been called.
func initServer(ic *plugin.InitContext) (any, error) {
	ready := ic.RegisterReadiness()
	metrics.Register()
	deps, err := collect(ic)
	if err != nil {
		return nil, startError(err)
	}
	service, err := New(ic.Context, deps)
	if err != nil {
		return nil, startError(err)
	}
	prometheus.MustRegister(gauges{service})
	guard.Go(ic.Context, nil, "CRI", func() {
		err := guard.Call(ic.Context, "CRI", func() error { return service.Run(ic.Context, ready) })
		if err != nil && ic.Context.Err() == nil {
			log.G(ic.Context).WithError(err).Fatal("the CRI cannot serve; the daemon exits")
		}
	})
	if deps.Config.Server.DisableTCPService {
		return service, nil
	}
	return tcpService{service}, nil
}

// startError explains that the daemon does not start because of err, and how to start it on a node
// that needs no CRI.
func startError(err error) error {
	return fmt.Errorf("the CRI cannot serve, so the daemon does not start (to start it without a CRI, set disabled_plugins = [%q]): %w",
		config.ServerTable, err)
}

// tcpService is a Service that containerd serves on its TCP address, too.
type tcpService struct{ *Service }

// RegisterTCP registers the CRI's services on the gRPC server of the TCP address.
func (s tcpService) RegisterTCP(g *grpc.Server) error {
	s.server.Register(g)
	return nil
}

func collect(ic *plugin.InitContext) (Deps, error) {
	root := ic.Properties[plugins.PropertyRootDir]
	deps := Deps{
		RootDir:            root,
		StateDir:           ic.Properties[plugins.PropertyStateDir],
		Endpoint:           ic.Properties[plugins.PropertyGRPCAddress],
		EventsEndpoint:     ic.Properties[plugins.PropertyTTRPCAddress],
		SnapshotterRoots:   snapshotterRoots(ic.Plugins(), root),
		RemoteSnapshotters: remoteSnapshotters(ic.Plugins()),
		loaded:             ic.Plugins(),
	}
	if err := deps.readConfig(ic); err != nil {
		return Deps{}, err
	}
	if err := deps.checkSnapshotters(); err != nil {
		return Deps{}, err
	}
	for _, dir := range []string{deps.RootDir, deps.StateDir} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return Deps{}, err
		}
		// The directory may exist with another mode: containerd before 2.0 made it world-readable.
		if err := os.Chmod(dir, 0o700); err != nil {
			return Deps{}, err
		}
	}
	var err error
	if deps.ShimEnv, err = shimEnv(ic); err != nil {
		return Deps{}, err
	}
	if deps.NRI, err = nriOptions(ic); err != nil {
		return Deps{}, err
	}
	deps.Client, err = client.New("",
		client.WithDefaultNamespace(namespace),
		client.WithDefaultPlatform(platforms.Default()),
		client.WithInMemoryServices(ic))
	if err != nil {
		return Deps{}, fmt.Errorf("containerd client: %w", err)
	}
	deps.Metadata, err = metadataOf(ic)
	return deps, err
}

func metadataOf(ic *plugin.InitContext) (*metadata.DB, error) {
	db, err := ic.GetSingle(plugins.MetadataPlugin)
	if err != nil {
		return nil, fmt.Errorf("containerd's metadata: %w", err)
	}
	return db.(*metadata.DB), nil
}

// shimEnv returns the variables that containerd's config sets for shims.
func shimEnv(ic *plugin.InitContext) ([]string, error) {
	manager, err := ic.GetSingle(plugins.ShimPlugin)
	if err != nil {
		return nil, fmt.Errorf("shim manager: %w", err)
	}
	return manager.(interface{ Env() []string }).Env(), nil
}

// readConfig reads the three tables. It returns the errors of all of them.
func (d *Deps) readConfig(ic *plugin.InitContext) error {
	images, err := sibling[config.Images](ic, "images")
	runtime, err2 := sibling[config.Runtime](ic, "runtime")
	server := ic.Config.(*config.Server)
	if err := errors.Join(err, err2, server.Validate()); err != nil {
		return err
	}
	d.Config = config.Config{Images: *images, Runtime: *runtime, Server: *server}
	d.BaseSpecs, err = runtime.BaseSpecs()
	return err
}

// sibling returns the table that one of the two other plugins decoded.
func sibling[T any](ic *plugin.InitContext, id string) (*T, error) {
	instance, err := ic.GetByID(plugins.CRIServicePlugin, id)
	if errors.Is(err, plugin.ErrPluginNotFound) {
		return nil, fmt.Errorf("plugin %s.%s is disabled (remove it from disabled_plugins, or add %s there, too)",
			plugins.CRIServicePlugin, id, config.ServerTable)
	}
	if err != nil {
		return nil, err
	}
	return instance.(*T), nil
}

// checkSnapshotters returns an error for each snapshotter that the config names and that is not
// loaded.
func (d *Deps) checkSnapshotters() error {
	var problems []error
	check := func(name, table string, key ...string) {
		if _, ok := d.SnapshotterRoots[name]; ok || name == "" {
			return
		}
		what := fmt.Sprintf("there is no snapshotter %q", name)
		if p := d.loaded.Get(plugins.SnapshotPlugin, name); p != nil {
			what = fmt.Sprintf("snapshotter %q did not load: %v", name, p.Err())
		}
		names := slices.Sorted(maps.Keys(d.SnapshotterRoots))
		problems = append(problems, config.Problem{
			Table: table, Key: key, What: what, Hint: "name one that loaded: " + strings.Join(names, ", "),
		})
	}
	images, runtime := d.Config.Images, d.Config.Runtime
	check(images.Snapshotter, config.ImagesTable, "snapshotter")
	for _, name := range slices.Sorted(maps.Keys(images.RuntimePlatforms)) {
		check(images.RuntimePlatforms[name].Snapshotter, config.ImagesTable, "runtime_platforms", name, "snapshotter")
	}
	for _, name := range runtime.HandlerNames() {
		check(runtime.Containerd.Runtimes[name].Snapshotter, config.RuntimeTable, "containerd", "runtimes", name, "snapshotter")
	}
	return errors.Join(problems...)
}

// snapshotterRoots returns the directories of the loaded snapshotters, by name. For a snapshotter
// that exports none, such as a proxy, it is the directory beside root that containerd would use.
func snapshotterRoots(loaded *plugin.Set, root string) map[string]string {
	roots := map[string]string{}
	for _, p := range loadedSnapshotters(loaded) {
		dir := p.Meta.Exports[plugins.SnapshotterRootDir]
		if dir == "" {
			dir = filepath.Join(filepath.Dir(root), p.Registration.URI())
		}
		roots[p.Registration.ID] = dir
	}
	return roots
}

// remoteSnapshotters returns the snapshotters that request labels for remote layers, by the export
// that the transfer service also reads.
func remoteSnapshotters(loaded *plugin.Set) []string {
	var names []string
	for _, p := range loadedSnapshotters(loaded) {
		if p.Meta.Exports["enable_remote_snapshot_annotations"] == "true" {
			names = append(names, p.Registration.ID)
		}
	}
	return names
}

func loadedSnapshotters(loaded *plugin.Set) []*plugin.Plugin {
	return slices.DeleteFunc(slices.Clone(loaded.GetAll()), func(p *plugin.Plugin) bool {
		return p.Registration.Type != plugins.SnapshotPlugin || p.Err() != nil
	})
}
