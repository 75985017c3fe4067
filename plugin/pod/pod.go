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
	"golang.org/x/sync/singleflight"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/plugin/config"
	"github.com/containerd-lite/containerd-lite/plugin/network"
	"github.com/containerd-lite/containerd-lite/plugin/retry"
	"github.com/containerd-lite/containerd-lite/plugin/runtime"
	"github.com/containerd-lite/containerd-lite/plugin/spec"
	"github.com/containerd-lite/containerd-lite/plugin/store"
)

// State is where a pod is in its life. It only moves forward.
type State string

const (
	// Creating is a pod whose Run has not ended. It is not shown to anybody.
	Creating State = "creating"
	// Ready is a pod that takes containers.
	Ready State = "ready"
	// Stopping is a pod that takes no more containers and still holds
	// resources: its network, its namespaces, its task.
	Stopping State = "stopping"
	// Stopped is a pod that only its record is left of.
	Stopped State = "stopped"
)

// Record is the one record of a pod. It is immutable; see package store.
type Record struct {
	ID         string                       `json:"id"`
	Name       string                       `json:"name"`
	Config     *runtimeapi.PodSandboxConfig `json:"config"`
	Hostname   string                       `json:"hostname,omitempty"` // the one in Config, or else the host's when the pod was made
	Requested  string                       `json:"requested"`          // the handler as the caller named it, "" for the default
	Handler    string                       `json:"handler"`            // the handler that runs it
	CreatedAt  int64                        `json:"created_at"`         // Unix nanoseconds
	BootID     string                       `json:"boot_id,omitempty"`  // of the boot of the machine that it runs in
	State      State                        `json:"state"`
	Namespaces network.Namespaces           `json:"namespaces"`
	Network    network.Result               `json:"network"`
	HasInit    bool                         `json:"has_init,omitempty"` // whether its task is a process; see needsInit
	PID        uint32                       `json:"init_pid,omitempty"` // of its task
	SELinux    spec.Labels                  `json:"selinux,omitzero"`
	Unfinished []string                     `json:"unfinished,omitempty"` // steps of the teardown of a failed Run that failed, too
}

// Key makes the pod's id and its unique name the keys of its record.
func (r *Record) Key() (id, name string) { return r.ID, r.Name }

// String is how errors and logs name the pod.
func (r *Record) String() string { return podName(r.Config) }

func podName(c *runtimeapi.PodSandboxConfig) string {
	return "pod " + c.GetMetadata().GetNamespace() + "/" + c.GetMetadata().GetName()
}

// SharesPID tells whether the pod's containers share one PID namespace.
func (r *Record) SharesPID() bool {
	return r.namespaceOptions().GetPid() == runtimeapi.NamespaceMode_POD
}

// HostNetwork tells whether the pod uses the network of the host.
func (r *Record) HostNetwork() bool {
	return r.namespaceOptions().GetNetwork() == runtimeapi.NamespaceMode_NODE
}

func (r *Record) namespaceOptions() *runtimeapi.NamespaceOption {
	return r.Config.GetLinux().GetSecurityContext().GetNamespaceOptions()
}

// SpecPod is what the spec of a container of the pod depends on.
func (r *Record) SpecPod(files spec.PodFiles) spec.Pod {
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
		Files: files,
	}
	if r.SharesPID() && r.PID != 0 {
		p.Namespaces.PID = fmt.Sprintf("/proc/%d/ns/pid", r.PID)
	}
	return p
}

// with returns a copy of the record that change was made to.
func (r *Record) with(change func(*Record)) *Record {
	next := *r
	change(&next)
	return &next
}

// Records is the durable home of pod records.
type Records interface {
	CreateSandbox(ctx context.Context, s runtime.Sandbox) error
	SaveSandbox(ctx context.Context, id string, record any) error
	DeleteSandbox(ctx context.Context, id string) error
	Sandboxes(ctx context.Context) ([]runtime.Record, error)
	// Knows tells whether anything in containerd has this id, ours or not.
	Knows(ctx context.Context, id string) (bool, error)
}

// Namespaces makes and pins the namespaces of a pod.
type Namespaces interface {
	Plan(opts network.PinOptions) network.Namespaces
	Pin(ctx context.Context, opts network.PinOptions) (network.Namespaces, error)
	// Tune sets the kernel parameters that CNI plugins may have made or changed.
	Tune(opts network.PinOptions) error
	Pinned(ns network.Namespaces) bool
	// Unpin removes the namespaces of a pod; see [network.Pinner.Unpin].
	Unpin(ctx context.Context, id string, ns network.Namespaces) error
}

// Network attaches pods to their network.
type Network interface {
	Attach(ctx context.Context, pod network.Pod) (network.Result, error)
	Detach(ctx context.Context, pod network.Pod) error
	// Attached returns all that were attached and not detached, ours or not: the
	// path of the network namespace by id.
	Attached() (map[string]string, error)
}

// Files makes what every container of a pod sees of it: hostname, hosts,
// resolv.conf and shared memory.
type Files interface {
	Create(id, hostname string, config *runtimeapi.PodSandboxConfig) error
	Remove(id string) error
	// IDs returns the pods that have files.
	IDs() ([]string, error)
}

// Tasks runs the tasks of pods: an init, or a holder, which has no process.
type Tasks interface {
	Start(ctx context.Context, r *Record) (pid uint32, err error)
	// Wait returns a channel that gets one value when the task has ended, also after ctx has.
	// It is NotFound when there is none.
	Wait(ctx context.Context, id string) (<-chan runtime.ExitStatus, error)
	Stop(ctx context.Context, id string) error
	// Answers returns nil if the shim of the task answers before ctx ends, or if there is no task.
	Answers(ctx context.Context, id string) error
	// KillShim kills the shim that was started for the task; containerd cleans up after it.
	KillShim(ctx context.Context, id string) error
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

// Members are the containers of a pod, which end before it does.
type Members interface {
	// StopAll stops the containers of a pod, all at once. It returns when the
	// last one has ended or when ctx ends.
	StopAll(ctx context.Context, podID string) error
	// RemoveAll removes them.
	RemoveAll(ctx context.Context, podID string) error
}

// Deps is what a Manager works with.
type Deps struct {
	Records    Records
	Namespaces Namespaces
	Network    Network
	Files      Files
	Tasks      Tasks
	Handlers   Handlers
	Labels     Labels
	Events     Events

	// CheckShim tells why the shim of a handler cannot be started, if so.
	CheckShim func(h config.Handler) error

	// BootID differs from boot to boot.
	BootID            string
	NewID             func() string
	Hostname          func() (string, error) // of the host, now
	Now               func() time.Time
	UnprivilegedPorts bool // enable_unprivileged_ports
	UnprivilegedICMP  bool // enable_unprivileged_icmp
}

// Time limits. They bound work whose caller has gone.
const (
	runTimeout  = 10 * time.Minute // CNI plugins and registries of slow nodes included
	stopTimeout = 5 * time.Minute
	undoTimeout = time.Minute
)

// Manager runs pods.
type Manager struct {
	Deps
	pods    *store.Store[*Record]
	runs    *retry.Group
	ends    singleflight.Group // Stop and Remove, by pod id
	watches watches
	life    context.Context // of the watches
	close   context.CancelFunc
	wait    sync.WaitGroup // the watches
	saver   sync.WaitGroup // what saves records late
	undoing undoing
}

// New returns a Manager with no pods. ctx is the life of what it does in the
// background, with containerd's namespace; [Manager.Close] ends it.
func New(ctx context.Context, deps Deps) *Manager {
	m := &Manager{Deps: deps, runs: retry.New(runTimeout), watches: watches{byID: map[string]*watch{}}}
	m.pods = store.New("pod sandbox", m, m.announce)
	m.life, m.close = context.WithCancel(ctx)
	guard.Go(m.life, &m.saver, "save pods late", func() {
		_ = guard.Keep(m.life, "save pods late", func() error { m.pods.SaveLate(m.life); return nil })
	})
	return m
}

// Close ends the goroutines of the manager. Pods go on.
func (m *Manager) Close() {
	m.close()
	m.wait.Wait()
	m.saver.Wait()
}

// Save writes a record to its durable home; package store calls it.
func (m *Manager) Save(ctx context.Context, r *Record) error {
	return m.Records.SaveSandbox(ctx, r.ID, r)
}

// Get returns the pod with this id or unique prefix of an id.
func (m *Manager) Get(id string) (*Record, error) {
	r, err := m.pods.Get(id)
	if err != nil {
		return nil, err
	}
	if r.State == Creating {
		return nil, fmt.Errorf("pod sandbox %q: %w", id, errdefs.ErrNotFound)
	}
	return r, nil
}

// Hold calls do with a pod, which stays as it is until do returns: what do shows
// of a ready pod is seen by whoever stops it. do must not block.
func (m *Manager) Hold(id string, do func(*Record) error) error { return m.pods.Hold(id, do) }

// List returns all pods.
func (m *Manager) List() []*Record {
	var list []*Record
	for _, r := range m.pods.List() {
		if r.State != Creating {
			list = append(list, r)
		}
	}
	return list
}

// name is unique among pods: the same pod runs again only as another attempt.
func name(meta *runtimeapi.PodSandboxMetadata) string {
	return strings.Join([]string{
		meta.GetName(), meta.GetNamespace(), meta.GetUid(), strconv.FormatUint(uint64(meta.GetAttempt()), 10),
	}, "_")
}
