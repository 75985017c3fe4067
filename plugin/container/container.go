// SPDX-License-Identifier: Apache-2.0

package container

import (
	"context"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/nri/pkg/api"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/internal/join"
	"github.com/containerd-lite/containerd-lite/plugin/config"
	"github.com/containerd-lite/containerd-lite/plugin/containerio"
	"github.com/containerd-lite/containerd-lite/plugin/image"
	"github.com/containerd-lite/containerd-lite/plugin/metrics"
	"github.com/containerd-lite/containerd-lite/plugin/pod"
	"github.com/containerd-lite/containerd-lite/plugin/runtime"
	"github.com/containerd-lite/containerd-lite/plugin/spec"
	"github.com/containerd-lite/containerd-lite/plugin/specgen"
	"github.com/containerd-lite/containerd-lite/plugin/store"
)

// Record describes a container. It is immutable; see package store.
type Record struct {
	ID         string                      `json:"id"`
	Name       string                      `json:"name"`
	PodID      string                      `json:"pod_id"`
	Config     *runtimeapi.ContainerConfig `json:"config"`
	Image      Image                       `json:"image"`
	Runtime    Runtime                     `json:"runtime"`
	LogDir     string                      `json:"log_dir,omitempty"` // log_directory of the pod
	StopSignal string                      `json:"stop_signal"`       // such as "SIGTERM"
	PID        uint32                      `json:"pid,omitempty"`
	Times      Times                       `json:"times"`
	Exit       Exit                        `json:"exit"`
	Applied

	life *life
}

// Applied holds the settings in effect. The requested ones are in Record.Config.
type Applied struct {
	Cgroup    string                              `json:"cgroup"` // cgroupsPath of the spec
	User      *runtimeapi.LinuxContainerUser      `json:"user,omitempty"`
	Resources *runtimeapi.LinuxContainerResources `json:"resources,omitempty"`
	// VolumeImages maps the index of an image mount in Config to the ID of the mounted image.
	VolumeImages map[int]string `json:"volume_images,omitempty"`
	SELinux      spec.Labels    `json:"selinux,omitzero"`
}

// Image identifies the image of a container.
type Image struct {
	ID   string `json:"id"`   // sha256:… of the image's config
	Name string `json:"name"` // reference as the user wrote it
	// Ref is the normalized reference, and Digest that of the manifest or index. Records of earlier
	// releases have neither.
	Ref    string `json:"ref,omitempty"`
	Digest string `json:"digest,omitempty"`
}

// Runtime names the runtime handler, the shim and the snapshotter of a container.
type Runtime struct {
	Handler       string `json:"handler"`
	ShimPath      string `json:"shim_path,omitempty"`
	ShimWritesLog bool   `json:"own_log,omitempty"` // the key is that of earlier releases
	Snapshotter   string `json:"snapshotter"`
	// BuiltIn is true for a container of the built-in CRI (package adopt). Pipes is the directory
	// of its pipes, whose names begin with the container's ID.
	BuiltIn bool   `json:"built_in,omitempty"`
	Pipes   string `json:"pipes,omitempty"`
}

// Times are Unix nanoseconds; zero means "not yet".
type Times struct {
	Created  int64 `json:"created"`
	Started  int64 `json:"started,omitempty"`
	Finished int64 `json:"finished,omitempty"`
}

// Exit is the result of a container that has exited.
type Exit struct {
	Code    int32  `json:"code"`
	Reason  string `json:"reason,omitempty"` // shown by the kubelet
	Message string `json:"message,omitempty"`
}

// The values of Exit.Reason, as the kubelet and its users know them.
const (
	ReasonCompleted  = "Completed"
	ReasonError      = "Error"
	ReasonOOMKilled  = "OOMKilled"
	ReasonStartError = "StartError"
	ReasonUnknown    = "Unknown"
)

// Key returns the container's ID and its unique name, the keys of the record.
func (r *Record) Key() (id, name string) { return r.ID, r.Name }

// Owner returns the ID of the container's pod.
func (r *Record) Owner() string { return r.PodID }

// String returns the name and the ID of the container, for errors and logs.
func (r *Record) String() string {
	return "container " + r.Config.GetMetadata().GetName() + " (" + r.ID + ")"
}

// LogPath returns the path of the container's log, or "" if the output is discarded.
func (r *Record) LogPath() string {
	if r.LogDir == "" || r.Config.GetLogPath() == "" {
		return ""
	}
	return filepath.Join(r.LogDir, r.Config.GetLogPath())
}

// State derives the state of the container from the times of the record.
func (r *Record) State() runtimeapi.ContainerState {
	switch {
	case r.Times.Finished != 0:
		return runtimeapi.ContainerState_CONTAINER_EXITED
	case r.Times.Started != 0:
		return runtimeapi.ContainerState_CONTAINER_RUNNING
	}
	return runtimeapi.ContainerState_CONTAINER_CREATED
}

func (r *Record) running() bool {
	return r.State() == runtimeapi.ContainerState_CONTAINER_RUNNING
}

// with returns a copy of the record with the change applied.
func (r *Record) with(change func(*Record)) *Record {
	next := *r
	change(&next)
	return &next
}

// Containerd is the part of package runtime that the manager uses.
type Containerd interface {
	CreateContainer(ctx context.Context, c runtime.Container) error
	SaveContainer(ctx context.Context, c runtime.Container) error
	Spec(ctx context.Context, id string) (spec *specs.Spec, labels map[string]string, err error)
	SaveSpec(ctx context.Context, id string, spec *specs.Spec) error
	DeleteContainer(ctx context.Context, id string) error
	Containers(ctx context.Context) ([]runtime.Record, error)
	// Knows reports whether containerd has a sandbox or a container with this ID, ours or not.
	Knows(ctx context.Context, id string) (bool, error)

	// RenewLease drops the lease of the previous daemon, so that containerd removes the snapshots
	// that no container refers to, and creates a new lease.
	RenewLease(ctx context.Context) error
	PrepareSnapshot(ctx context.Context, s runtime.Snapshot) ([]mount.Mount, error)
	RemoveSnapshot(ctx context.Context, snapshotter, key string) error

	NewTask(ctx context.Context, id string, io cio.Creator, opts runtime.TaskOptions) (runtime.Task, error)
	LoadTask(ctx context.Context, id string, attach cio.Attach) (runtime.Task, error)
	DeleteTask(ctx context.Context, id string) error
}

// Pods is the part of package pod that the manager uses.
type Pods interface {
	Get(id string) (*pod.Record, error)
	// AwaitTask waits for the pod's task if the task is being restarted.
	AwaitTask(ctx context.Context, id string) error
	// Hold calls do with the pod's record, which does not change until do returns.
	Hold(id string, do func(*pod.Record) error) error
	// Sandbox converts a record to the pod that NRI plugins see.
	Sandbox(ctx context.Context, r *pod.Record) *api.PodSandbox
}

// Images resolves image references and unpacks images for a snapshotter.
type Images interface {
	Resolve(ctx context.Context, ref string) (image.Image, error)
	Unpack(ctx context.Context, img image.Image, snapshotter string) error
}

// Labels allocates SELinux labels; package host implements it.
type Labels interface {
	Labels(options *runtimeapi.SELinuxOption, podLabel string) (spec.Labels, error)
	Reserve(processLabel string)
	Release(processLabel string)
}

// Handlers returns the configuration of a runtime handler.
type Handlers interface {
	Handler(name string) (resolved string, handler config.Handler, err error)
}

// Specs turns a request into an OCI spec. Create reads the host only through Specs.
type Specs interface {
	// Check reads what the spec needs from the request and the host, and builds as much of the spec
	// as it can without a root file system. So Create rejects an invalid request before it changes
	// anything.
	Check(ctx context.Context, req specgen.Request) (spec.Input, error)
	// Make builds the spec of a request that Check has accepted.
	Make(ctx context.Context, in spec.Input, req specgen.Request) (*specs.Spec, error)
	// Update returns the current spec with the new limits merged in.
	Update(current *specs.Spec, want *runtimeapi.LinuxContainerResources) (*specs.Spec, error)
	// Adjust and UpdateNRI return a spec with what NRI plugins request for a new and for an
	// existing container.
	Adjust(ctx context.Context, s *specs.Spec, a *api.ContainerAdjustment, handler string) (*specs.Spec, error)
	UpdateNRI(current *specs.Spec, want *api.LinuxResources) (*specs.Spec, error)
}

// Logs configures the logs of containers.
type Logs struct {
	ShimWritten containerio.ShimLogs
	MaxLine     func() int // bytes; see max_container_log_line_size
}

// ExecSyncOptions configures ExecSync.
type ExecSyncOptions struct {
	Shims ShimExecs
	Drain func() time.Duration // drain_exec_sync_io_timeout; 0 means execIdleTimeout
}

// Deps holds the dependencies and the settings of a Manager.
type Deps struct {
	Containerd Containerd
	Pods       Pods
	Images     Images
	Handlers   Handlers
	Specs      Specs
	Labels     Labels
	Events     Events
	Plugins    Plugins
	Dirs       Dirs
	Logs       Logs
	Execs      ExecSyncOptions

	NewID       func() string
	Now         func() time.Time
	Snapshotter func(handler string) string
	// OOMKilled reports whether the kernel has OOM-killed a process in this cgroup. known is false
	// if the cgroup does not exist.
	OOMKilled func(cgroup string) (killed, known bool)
}

// Timeouts of calls that continue after their caller gave up, or that ask a shim that may be stuck.
const (
	createTimeout   = 10 * time.Minute
	startTimeout    = 5 * time.Minute
	removeTimeout   = 5 * time.Minute
	reapTimeout     = 30 * time.Second
	reapGrace       = 5 * time.Second
	oomQueryTimeout = 2 * time.Second
	drainTimeout    = 10 * time.Second
	rollbackTimeout = time.Minute

	// exitEventTimeout bounds the wait for containerd's exit event, if the shim does not answer.
	exitEventTimeout = 5 * time.Second
)

// Manager runs containers.
type Manager struct {
	Deps
	containers *containerStore
	creates    *join.Calls[string]   // by pod ID and config
	removes    *join.Calls[struct{}] // by ID
	background *background
	plugins    pluginCalls
	watcher    *watcher
	limits     limits
	execs      *execs
	volumes    imageVolumes
	saving     sync.WaitGroup // the goroutine that retries saving records
}

// New returns a Manager without containers. ctx bounds its background work and carries containerd's
// namespace; [Manager.Close] ends that work.
func New(ctx context.Context, deps Deps) *Manager {
	containers := newContainerStore(deps.Containerd, deps.Events)
	for _, reason := range []string{ReasonCompleted, ReasonError, ReasonOOMKilled, ReasonUnknown} {
		metrics.Exits.WithLabelValues(reason) // rate() misses the event that creates a counter
	}
	background := newBackground(ctx)
	plugins := pluginCalls{plugins: deps.Plugins, pods: deps.Pods, containerd: deps.Containerd}
	watcher := newWatcher(deps, containers, background, plugins)
	m := &Manager{
		Deps:       deps,
		containers: containers,
		creates: join.New[string](join.Options{
			Name: "create", Policy: join.Keep, Timeout: createTimeout, Joined: metrics.Joined("CreateContainer"),
			Left: "still in progress; retry the same request to get its result",
		}),
		removes: join.New[struct{}](join.Options{
			Name: "remove", Timeout: removeTimeout, Left: "removal continues in the background", Joined: metrics.Joined("RemoveContainer"),
		}),
		background: background,
		plugins:    plugins,
		watcher:    watcher,
		limits:     limits{containerd: deps.Containerd, containers: containers, watcher: watcher},
		execs:      newExecs(deps, watcher),
		volumes:    imageVolumes{images: deps.Images, containerd: deps.Containerd, dirs: deps.Dirs},
	}
	guard.Go(background.ctx, &m.saving, "retry saving containers", func() {
		_ = guard.Keep(background.ctx, "retry saving containers", func() error { containers.SaveLate(background.ctx); return nil })
	})
	return m
}

// Close stops the background goroutines and closes the daemon's ends of the containers' streams.
// The containers keep running: a lite shim writes their output to the log, and the output of other
// shims waits in the pipes.
func (m *Manager) Close() {
	m.background.cancel()
	m.background.running.Wait()
	m.saving.Wait()
	for _, r := range m.containers.List() {
		r.life.streams.Release()
	}
}

// Get returns the container with this ID or unique prefix of an ID.
func (m *Manager) Get(id string) (*Record, error) { return m.containers.Get(id) }

// List returns all containers.
func (m *Manager) List() []*Record { return m.containers.List() }

// Select returns the containers that match. match must not block.
func (m *Manager) Select(match func(*Record) bool) []*Record { return m.containers.Select(match) }

// OfPod returns the containers of a pod.
func (m *Manager) OfPod(podID string) []*Record { return m.containers.OwnedBy(podID) }

// uniqueName returns a name that is unique among all containers. The kubelet increases the attempt
// number when it creates a container of a pod again.
func uniqueName(c *runtimeapi.ContainerMetadata, p *runtimeapi.PodSandboxMetadata) string {
	return strings.Join([]string{
		c.GetName(), p.GetName(), p.GetNamespace(), p.GetUid(), strconv.FormatUint(uint64(c.GetAttempt()), 10),
	}, "_")
}

// containerStore has the records of all containers.
type containerStore struct {
	*store.Store[*Record]
}

func newContainerStore(c Containerd, events Events) *containerStore {
	publish := func(before, after *Record) { publish(events, before, after) }
	save := func(ctx context.Context, r *Record) error {
		return c.SaveContainer(ctx, runtime.Container{ID: r.ID, Kind: runtime.KindContainer, Record: r})
	}
	return &containerStore{store.New("container", save, publish)}
}

// settle records a fact about a container and shows it to readers at once. saved is closed when the
// fact would survive a crash. For a removed container, nothing is recorded and saved is closed.
func (s *containerStore) settle(ctx context.Context, id string, change func(*Record)) (saved <-chan struct{}) {
	_, saved, err := s.Settle(ctx, id, func(r *Record) *Record { return r.with(change) })
	if err != nil {
		removed := make(chan struct{})
		close(removed)
		return removed
	}
	return saved
}

// background runs the goroutines that end with the manager.
type background struct {
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup
}

func newBackground(ctx context.Context) *background {
	ctx, cancel := context.WithCancel(ctx)
	return &background{ctx: ctx, cancel: cancel}
}

// run runs fn in a goroutine; see [guard.Go].
func (b *background) run(what string, fn func(ctx context.Context)) {
	guard.Go(b.ctx, &b.running, what, func() { fn(b.ctx) })
}
