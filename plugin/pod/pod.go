// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/internal/join"
	"github.com/containerd-lite/containerd-lite/plugin/config"
	"github.com/containerd-lite/containerd-lite/plugin/metrics"
	"github.com/containerd-lite/containerd-lite/plugin/network"
	"github.com/containerd-lite/containerd-lite/plugin/runtime"
	"github.com/containerd-lite/containerd-lite/plugin/spec"
	"github.com/containerd-lite/containerd-lite/plugin/store"
)

// State is the state of a pod in its life cycle. It only moves forward, in the order below.
type State string

const (
	// Creating is a pod whose Run is in progress. No caller can see it.
	Creating State = "creating"
	// Ready is a pod in which containers can be created.
	Ready State = "ready"
	// Stopping is a pod in which no more containers can be created, and which still holds
	// resources: network, namespaces, task.
	Stopping State = "stopping"
	// Stopped is a pod that has released its resources. Its record and its stopped containers
	// remain.
	Stopped State = "stopped"
)

// Record describes a pod. It is immutable; see package store.
type Record struct {
	ID         string                       `json:"id"`
	Name       string                       `json:"name"`
	Config     *runtimeapi.PodSandboxConfig `json:"config"`
	Hostname   string                       `json:"hostname,omitempty"` // Config's or the host's
	Requested  string                       `json:"requested"`          // handler in the request
	Handler    string                       `json:"handler"`            // resolved handler
	CreatedAt  int64                        `json:"created_at"`         // Unix nanoseconds
	BootID     string                       `json:"boot_id,omitempty"`  // of the host, at creation
	State      State                        `json:"state"`
	Namespaces network.Namespaces           `json:"namespaces"`
	Network    network.Result               `json:"network"`
	HasInit    bool                         `json:"has_init,omitempty"` // see needsInit
	PID        uint32                       `json:"init_pid,omitempty"` // of the task
	SELinux    spec.Labels                  `json:"selinux,omitzero"`
	// Unfinished has the names of the steps that failed in the rollback of a failed Run, or the
	// reason why a pod of the built-in CRI was not adopted.
	Unfinished []string `json:"unfinished,omitempty"`
}

// Key returns the keys of the record in the store: the ID of the pod and its unique name.
func (r *Record) Key() (id, name string) { return r.ID, r.Name }

// Owner returns "": a pod belongs to nothing.
func (r *Record) Owner() string { return "" }

// String returns the name of the pod in errors and logs.
func (r *Record) String() string { return podName(r.Config) }

func podName(c *runtimeapi.PodSandboxConfig) string {
	return "pod " + c.GetMetadata().GetNamespace() + "/" + c.GetMetadata().GetName()
}

// SharesPID reports whether the pod's containers share one PID namespace.
func (r *Record) SharesPID() bool {
	return r.namespaceOptions().GetPid() == runtimeapi.NamespaceMode_POD
}

// HostNetwork reports whether the pod uses the network of the host.
func (r *Record) HostNetwork() bool {
	return r.namespaceOptions().GetNetwork() == runtimeapi.NamespaceMode_NODE
}

// HostIPC reports whether the pod uses the IPC namespace and the /dev/shm of the host.
func (r *Record) HostIPC() bool {
	return r.namespaceOptions().GetIpc() == runtimeapi.NamespaceMode_NODE
}

// HasUserNamespace reports whether the pod has a user namespace of its own.
func (r *Record) HasUserNamespace() bool {
	uids, _ := spec.IDMappings(r.Config)
	return uids != nil
}

func (r *Record) namespaceOptions() *runtimeapi.NamespaceOption {
	return r.Config.GetLinux().GetSecurityContext().GetNamespaceOptions()
}

// SpecPod returns the part of the record that the OCI specs of the pod's containers depend on. The
// files are left out.
func (r *Record) SpecPod() spec.Pod {
	p := spec.Pod{
		ID:       r.ID,
		Config:   r.Config,
		Hostname: r.Hostname,
		Namespaces: spec.Namespaces{
			Net: r.Namespaces.Net,
			IPC: r.Namespaces.IPC,
			UTS: r.Namespaces.UTS,

			User: r.Namespaces.User,
		},
	}
	if r.SharesPID() && r.PID != 0 {
		p.Namespaces.PID = fmt.Sprintf("/proc/%d/ns/pid", r.PID)
	}
	return p
}

// with returns a changed copy of the record.
func (r *Record) with(change func(*Record)) *Record {
	next := *r
	change(&next)
	return &next
}

// Records saves pod records in containerd's metadata.
type Records interface {
	CreateSandbox(ctx context.Context, s runtime.Sandbox) error
	SaveSandbox(ctx context.Context, s runtime.Sandbox) error
	DeleteSandbox(ctx context.Context, id string) error
	Sandboxes(ctx context.Context) ([]runtime.Record, error)
	// Knows reports whether containerd has a sandbox or container with this ID, of any CRI plugin.
	Knows(ctx context.Context, id string) (bool, error)
}

// Namespaces creates and pins the namespaces of a pod. [network.Pinner] implements it.
type Namespaces interface {
	Plan(opts network.PinOptions) network.Namespaces
	Pin(ctx context.Context, opts network.PinOptions) (network.Namespaces, error)
	// Tune sets the pod's network sysctls again, after the CNI plugins created its interfaces.
	Tune(opts network.PinOptions) error
	Pinned(ns network.Namespaces) bool
	// Unpin removes the namespaces of a pod; see [network.Pinner.Unpin].
	Unpin(ctx context.Context, id string, ns network.Namespaces) error
}

// Network attaches pods to their CNI networks.
type Network interface {
	Attach(ctx context.Context, pod network.Pod) (network.Result, error)
	Detach(ctx context.Context, pod network.Pod) error
	// Attached returns the attachments in the CNI cache, including those of other runtimes: the
	// path of the network namespace by container ID.
	Attached() (map[string]string, error)
}

// Files creates the files that all containers of a pod share: hostname, hosts, resolv.conf and
// shared memory.
type Files interface {
	Create(id, hostname string, config *runtimeapi.PodSandboxConfig) error
	Remove(id string) error
	// IDs returns the IDs of the pods that have files.
	IDs() ([]string, error)
}

// Tasks runs the tasks of pods: an init, or a holder, which has no process.
type Tasks interface {
	Start(ctx context.Context, r *Record) (pid uint32, err error)
	// Cgroup returns the cgroup of a pod's task, in the notation of its cgroup driver.
	Cgroup(r *Record) (string, error)
	// Wait returns a channel that gets one value when the task has ended. The wait continues after
	// ctx has ended. Without a task the error is NotFound.
	Wait(ctx context.Context, id string) (<-chan runtime.ExitStatus, error)
	Stop(ctx context.Context, id string) error
	// PingShim returns nil if the shim of the task answers before ctx ends, or if there is no task.
	PingShim(ctx context.Context, id string) error
	// KillShim kills the shim that was started for the task. containerd cleans up after it. The
	// error is NotFound if there is none.
	KillShim(ctx context.Context, id string) error
}

// Labels allocates SELinux labels. [host.SELinux] implements it.
type Labels interface {
	Labels(options *runtimeapi.SELinuxOption, podLabel string) (spec.Labels, error)
	Reserve(processLabel string)
	Release(processLabel string)
}

// Handlers returns the configuration of a runtime handler.
type Handlers interface {
	Handler(name string) (resolved string, handler config.Handler, err error)
}

// Members are the containers of a pod. They are stopped and removed before the pod is.
type Members interface {
	// StopAll stops the containers of a pod in parallel. It returns when all have stopped or ctx
	// has ended.
	StopAll(ctx context.Context, podID string) error
	// RemoveAll removes the containers of a pod.
	RemoveAll(ctx context.Context, podID string) error
}

// podStore has the records of all pods.
type podStore struct {
	*store.Store[*Record]
}

func newPodStore(saved Records, events Events) *podStore {
	publish := func(before, after *Record) { publishChange(events, before, after) }
	save := func(ctx context.Context, r *Record) error {
		return saved.SaveSandbox(ctx, runtime.Sandbox{ID: r.ID, Record: r})
	}
	return &podStore{store.New("pod", save, publish)}
}

// markStopping records that a ready pod is no longer ready. Pods in other states do not change.
func (s *podStore) markStopping(ctx context.Context, id string) {
	_, _, _ = s.Settle(ctx, id, func(r *Record) *Record { // NotFound: the pod was removed
		if r.State != Ready {
			return r
		}
		return r.with(func(r *Record) { r.State = Stopping })
	})
}

// Deps are the dependencies and settings of a Manager.
type Deps struct {
	Records    Records
	Namespaces Namespaces
	Network    Network
	Files      Files
	Tasks      Tasks
	Handlers   Handlers
	Labels     Labels
	Events     Events
	Plugins    Plugins

	// CheckShim returns an error if the shim of a handler is not installed, or if the handler names
	// none.
	CheckShim func(h config.Handler) error

	// BootID identifies the boot of the host.
	BootID       string
	NewID        func() string
	Hostname     func() (string, error) // of the host; may change while the daemon runs
	Now          func() time.Time
	Unprivileged func() Unprivileged
}

// Unprivileged has the sysctls that pods with a network of their own get by default.
type Unprivileged struct {
	Ports bool // enable_unprivileged_ports
	ICMP  bool // enable_unprivileged_icmp
}

// Time limits of work that continues when its caller has given up.
const (
	runTimeout      = 10 * time.Minute
	stopTimeout     = 5 * time.Minute
	rollbackTimeout = time.Minute // also for strays
)

// Manager runs pods.
type Manager struct {
	Deps
	pods      *podStore
	runs      *join.Calls[string]   // by request
	stops     *join.Calls[struct{}] // by pod ID
	removes   *join.Calls[struct{}] // by pod ID
	watches   *watches
	releaser  *releaser
	rollbacks rollbacks
	stopSent  once // by ID: NRI's StopPodSandbox

	cancel context.CancelFunc // ends the watches and the goroutine of saving
	saving sync.WaitGroup     // the goroutine that saves settled facts
}

// New returns a Manager without pods. ctx bounds its background work and carries containerd's
// namespace. [Manager.Close] ends the background work.
func New(ctx context.Context, deps Deps) *Manager {
	ctx, cancel := context.WithCancel(ctx)
	pods := newPodStore(deps.Records, deps.Events)
	watches := newWatches(ctx, pods, deps.Tasks, deps.Now)
	m := &Manager{
		Deps: deps,
		pods: pods,
		runs: join.New[string](join.Options{
			Name: "run", Policy: join.Keep, Timeout: runTimeout, Joined: metrics.Joined("RunPodSandbox"),
			Left: "still in progress; retry the same request to get its result",
		}),
		stops: join.New[struct{}](join.Options{
			Name: "stop", Timeout: stopTimeout, Left: "stop continues in the background", Joined: metrics.Joined("StopPodSandbox"),
		}),
		removes: join.New[struct{}](join.Options{
			Name: "remove", Timeout: stopTimeout, Left: "remove continues in the background", Joined: metrics.Joined("RemovePodSandbox"),
		}),
		watches:  watches,
		releaser: newReleaser(deps, watches),
		cancel:   cancel,
	}
	guard.Go(ctx, &m.saving, "save pod records", func() {
		_ = guard.Keep(ctx, "save pod records", func() error { pods.SaveLate(ctx); return nil })
	})
	return m
}

// Close ends the background goroutines of the manager. Pods continue to run.
func (m *Manager) Close() {
	m.cancel()
	m.watches.running.Wait()
	m.saving.Wait()
}

// AwaitTask waits while the task of a ready pod is being restarted: containers join its shim. It
// returns at once for a pod that is not ready.
func (m *Manager) AwaitTask(ctx context.Context, id string) error { return m.watches.await(ctx, id) }

// Get returns the pod with this ID or unique prefix of an ID. The error is NotFound if there is
// none that callers can see.
func (m *Manager) Get(id string) (*Record, error) {
	r, err := m.pods.Get(id)
	if err != nil {
		return nil, err
	}
	if r.State == Creating {
		return nil, fmt.Errorf("pod %q: %w", id, errdefs.ErrNotFound)
	}
	return r, nil
}

// Hold calls do with the record of a pod, which does not change until do returns. A later Stop of
// the pod sees the containers that do adds. do must not block.
func (m *Manager) Hold(id string, do func(*Record) error) error { return m.pods.Hold(id, do) }

// List returns all pods that callers can see.
func (m *Manager) List() []*Record { return m.Select(func(*Record) bool { return true }) }

// Select returns the pods that callers can see and that match. match must not block.
func (m *Manager) Select(match func(*Record) bool) []*Record {
	return m.pods.Select(func(r *Record) bool { return r.State != Creating && match(r) })
}

// name returns the unique name of a pod: a pod can run again only as another attempt.
func name(meta *runtimeapi.PodSandboxMetadata) string {
	return strings.Join([]string{
		meta.GetName(), meta.GetNamespace(), meta.GetUid(), strconv.FormatUint(uint64(meta.GetAttempt()), 10),
	}, "_")
}
