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
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sync/singleflight"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/plugin/config"
	"github.com/containerd-lite/containerd-lite/plugin/image"
	"github.com/containerd-lite/containerd-lite/plugin/pod"
	"github.com/containerd-lite/containerd-lite/plugin/retry"
	"github.com/containerd-lite/containerd-lite/plugin/runtime"
	"github.com/containerd-lite/containerd-lite/plugin/spec"
	"github.com/containerd-lite/containerd-lite/plugin/stdio"
	"github.com/containerd-lite/containerd-lite/plugin/store"
)

// Record is the one record of a container. It is immutable; see package store.
type Record struct {
	ID         string                      `json:"id"`
	Name       string                      `json:"name"`
	PodID      string                      `json:"pod_id"`
	Config     *runtimeapi.ContainerConfig `json:"config"`
	Image      Image                       `json:"image"`
	Runtime    Runtime                     `json:"runtime"`
	LogDir     string                      `json:"log_dir,omitempty"` // of the pod
	StopSignal string                      `json:"stop_signal"`       // "SIGTERM"
	PID        uint32                      `json:"pid,omitempty"`
	Times      Times                       `json:"times"`
	Exit       Exit                        `json:"exit"`
	Applied

	life *life
}

// Applied is what a container got of what it asked for.
type Applied struct {
	Cgroup    string                              `json:"cgroup"` // cgroupsPath of the spec
	User      *runtimeapi.LinuxContainerUser      `json:"user,omitempty"`
	Resources *runtimeapi.LinuxContainerResources `json:"resources,omitempty"`
	// VolumeImages are the ids of mounted images by the index of their mount.
	VolumeImages map[int]string `json:"volume_images,omitempty"`
	SELinux      spec.Labels    `json:"selinux,omitzero"`
}

// Image is what a container was made from.
type Image struct {
	ID   string `json:"id"`   // sha256:… of the image's config
	Name string `json:"name"` // as the user wrote it
}

// Runtime is what runs a container.
type Runtime struct {
	Handler     string `json:"handler"`
	ShimPath    string `json:"shim_path,omitempty"`
	OwnLog      bool   `json:"own_log,omitempty"` // the shim writes the log
	Snapshotter string `json:"snapshotter"`
}

// Times are Unix nanoseconds; zero is "not yet".
type Times struct {
	Created  int64 `json:"created"`
	Started  int64 `json:"started,omitempty"`
	Finished int64 `json:"finished,omitempty"`
}

// Exit is how a container ended.
type Exit struct {
	Code    int32  `json:"code"`
	Reason  string `json:"reason,omitempty"` // what the kubelet shows: Completed, Error, OOMKilled, …
	Message string `json:"message,omitempty"`
}

// The reasons of an Exit, as the kubelet and its users know them.
const (
	ReasonCompleted  = "Completed"
	ReasonError      = "Error"
	ReasonOOMKilled  = "OOMKilled"
	ReasonStartError = "StartError"
	ReasonUnknown    = "Unknown"
)

// Key makes the container's id and its unique name the keys of its record.
func (r *Record) Key() (id, name string) { return r.ID, r.Name }

// String is how errors and logs name the container.
func (r *Record) String() string {
	return "container " + r.Config.GetMetadata().GetName() + " (" + r.ID + ")"
}

// LogPath is the file that the output is written to; "" discards it.
func (r *Record) LogPath() string {
	if r.LogDir == "" || r.Config.GetLogPath() == "" {
		return ""
	}
	return filepath.Join(r.LogDir, r.Config.GetLogPath())
}

// State follows from the times of the record.
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

// with returns a copy of the record that change was made to.
func (r *Record) with(change func(*Record)) *Record {
	next := *r
	change(&next)
	return &next
}

// Containerd is what the manager needs of package runtime.
type Containerd interface {
	CreateContainer(ctx context.Context, c runtime.Container) error
	SaveContainer(ctx context.Context, id string, record any) error
	Spec(ctx context.Context, id string) (*specs.Spec, error)
	SaveSpec(ctx context.Context, id string, spec *specs.Spec) error
	DeleteContainer(ctx context.Context, id string) error
	Containers(ctx context.Context) ([]runtime.Record, error)
	// Knows tells whether anything in containerd has this id, ours or not.
	Knows(ctx context.Context, id string) (bool, error)

	// RenewLease ends what kept the snapshots that no container refers to.
	RenewLease(ctx context.Context) error
	PrepareSnapshot(ctx context.Context, s runtime.Snapshot) ([]mount.Mount, error)
	RemoveSnapshot(ctx context.Context, snapshotter, key string) error

	NewTask(ctx context.Context, id string, io cio.Creator, opts runtime.TaskOptions) (runtime.Task, error)
	LoadTask(ctx context.Context, id string, attach cio.Attach) (runtime.Task, error)
	DeleteTask(ctx context.Context, id string) error
}

// Pods tells about the pod of a container.
type Pods interface {
	Get(id string) (*pod.Record, error)
	// AwaitTask waits for the pod's task if it is just being started anew.
	AwaitTask(ctx context.Context, id string) error
	// Hold calls do with a pod, which stays as it is until do returns.
	Hold(id string, do func(*pod.Record) error) error
}

// Images finds the images of containers and gets them ready for a snapshotter.
type Images interface {
	Resolve(ctx context.Context, ref string) (image.Image, error)
	Unpack(ctx context.Context, img image.Image, snapshotter string) error
}

// Labels hands out SELinux labels; package host has them.
type Labels interface {
	Labels(options *runtimeapi.SELinuxOption, podLabel string) (spec.Labels, error)
	Reserve(processLabel string)
	Release(processLabel string)
}

// Handlers tells the configuration of a runtime handler.
type Handlers interface {
	Handler(name string) (resolved string, handler config.Handler, err error)
}

// Specs turns a request into an OCI spec. It is the only step of Create that
// looks at the machine.
type Specs interface {
	// Check gathers what a spec needs of the request and the host, and makes as
	// much of one as can be made without a root file system: a request that is
	// wrong is refused before any work.
	Check(ctx context.Context, req SpecRequest) (spec.Input, error)
	// Make makes the spec of a request that was checked.
	Make(ctx context.Context, in spec.Input, req SpecRequest) (SpecResult, error)
	Update(current *specs.Spec, want *runtimeapi.LinuxContainerResources) (*specs.Spec, error)
}

// Logs say how logs are written.
type Logs struct {
	Shims   stdio.Shim // those that write the logs of their containers
	MaxLine int        // bytes; see max_container_log_line_size
}

// Deps is what a Manager works with.
type Deps struct {
	Containerd Containerd
	Pods       Pods
	Images     Images
	Handlers   Handlers
	Specs      Specs
	Labels     Labels
	Events     Events
	Dirs       Dirs
	Logs       Logs
	ExecDrain  time.Duration // drain_exec_sync_io_timeout; 0 for a default

	NewID       func() string
	Now         func() time.Time
	Snapshotter func(handler string) string
	// OOMKilled tells whether the kernel has killed in this cgroup for want of
	// memory; a cgroup that is gone is not known.
	OOMKilled func(cgroup string) (killed, known bool)
}

// Time limits. They bound work whose caller has gone, or a shim that is stuck.
const (
	createLimit = 10 * time.Minute
	startLimit  = 5 * time.Minute
	removeLimit = 5 * time.Minute
	reapLimit   = 30 * time.Second
	askLimit    = 2 * time.Second
	drainLimit  = 10 * time.Second
	undoLimit   = time.Minute

	// announceLimit is how long an exit may be on its way through containerd.
	announceLimit = 5 * time.Second
)

// Manager runs containers.
type Manager struct {
	Deps
	containers *store.Store[*Record]
	creates    *retry.Group
	removes    singleflight.Group
	outputs    *outputPool     // of ExecSync calls
	patience   time.Duration   // for an exit on its way through containerd
	life       context.Context // of the goroutines that wait for exits
	close      context.CancelFunc
	wait       sync.WaitGroup // those goroutines
	saver      sync.WaitGroup // the one that saves records late
}

// New returns a Manager with no containers. ctx is the life of what it does in
// the background, with containerd's namespace; [Manager.Close] ends it.
func New(ctx context.Context, deps Deps) *Manager {
	m := &Manager{Deps: deps, creates: retry.New(createLimit), outputs: newOutputPool(), patience: announceLimit}
	m.containers = store.New("container", m, m.announce)
	m.life, m.close = context.WithCancel(ctx)
	guard.Go(m.life, &m.saver, "save containers late", func() {
		_ = guard.Keep(m.life, "save containers late", func() error { m.containers.SaveLate(m.life); return nil })
	})
	return m
}

// Close ends the goroutines of the manager and closes its side of the
// containers' streams. Containers go on; their shims keep the output.
func (m *Manager) Close() {
	m.close()
	m.wait.Wait()
	m.saver.Wait()
	for _, r := range m.containers.List() {
		r.life.streams.Release()
	}
}

// Save writes a record to its durable home; package store calls it.
func (m *Manager) Save(ctx context.Context, r *Record) error {
	return m.Containerd.SaveContainer(ctx, r.ID, r)
}

// Get returns the container with this id or unique prefix of an id.
func (m *Manager) Get(id string) (*Record, error) { return m.containers.Get(id) }

// List returns all containers.
func (m *Manager) List() []*Record { return m.containers.List() }

// OfPod returns the containers of a pod.
func (m *Manager) OfPod(podID string) []*Record {
	return m.containers.Select(func(r *Record) bool { return r.PodID == podID })
}

// uniqueName is unique among containers: the same container of a pod runs again only
// as another attempt.
func uniqueName(c *runtimeapi.ContainerMetadata, p *runtimeapi.PodSandboxMetadata) string {
	return strings.Join([]string{
		c.GetName(), p.GetName(), p.GetNamespace(), p.GetUid(), strconv.FormatUint(uint64(c.GetAttempt()), 10),
	}, "_")
}

// settle records a fact about a container, which readers see at once. saved is closed when it
// would survive a crash. A container that was removed has no more facts.
func (m *Manager) settle(ctx context.Context, id string, change func(*Record)) (saved <-chan struct{}) {
	_, saved, err := m.containers.Settle(ctx, id, func(r *Record) *Record { return r.with(change) })
	if err != nil {
		removed := make(chan struct{})
		close(removed)
		return removed
	}
	return saved
}
