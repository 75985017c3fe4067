// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"context"
	"maps"
	"sync"

	"github.com/containerd/log"
	"github.com/containerd/nri/pkg/api"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/containerd-lite/containerd-lite/plugin/nri"
	"github.com/containerd-lite/containerd-lite/plugin/runtime"
	"github.com/containerd-lite/containerd-lite/plugin/spec"
)

// Plugins calls the NRI plugins about pods. [nri.Plugins] implements it.
type Plugins interface {
	RunPodSandbox(ctx context.Context, id string, pod nri.Subject) error
	UpdatePodSandbox(ctx context.Context, pod nri.Subject, overhead, resources *api.LinuxResources) error
	PostUpdatePodSandbox(ctx context.Context, pod nri.Subject)
	StopPodSandbox(ctx context.Context, pod nri.Subject)
	RemovePodSandbox(ctx context.Context, id string, pod nri.Subject)
	Seen(id string)
}

// Subject returns a pod as NRI plugins see it.
func (m *Manager) Subject(ctx context.Context, r *Record) nri.Subject {
	return func() (*api.PodSandbox, *api.Container) { return m.Sandbox(ctx, r), nil }
}

// Sandbox converts a record to the pod that NRI plugins see. As in the built-in CRI, labels and
// annotations are those of the config and those by which shims and tools identify the pod.
//
// The PID is that of the pod's init. In a pod without a process it is the ID of the thread that the
// shim keeps in the pod's network namespace (docs/decisions/0005); /proc/PID/ns/net exists for
// both.
func (m *Manager) Sandbox(ctx context.Context, r *Record) *api.PodSandbox {
	p := r.SpecPod()
	cgroup, err := m.Tasks.Cgroup(r)
	if err != nil {
		log.G(ctx).WithError(err).WithField("pod", r.ID).Debug("cgroup of the pod unknown to NRI plugins")
	}
	annotations := maps.Clone(r.Config.GetAnnotations())
	if annotations == nil {
		annotations = map[string]string{}
	}
	maps.Copy(annotations, spec.PodAnnotations(p))
	linux := r.Config.GetLinux()
	return &api.PodSandbox{
		Id:             r.ID,
		Name:           r.Config.GetMetadata().GetName(),
		Uid:            r.Config.GetMetadata().GetUid(),
		Namespace:      r.Config.GetMetadata().GetNamespace(),
		Labels:         runtime.KindPod.Labels(r.Config.GetLabels()),
		Annotations:    annotations,
		RuntimeHandler: r.Requested,
		Pid:            r.PID,
		Ips:            r.addresses(),
		Linux: &api.LinuxPodSandbox{
			PodOverhead:  nri.Resources(linux.GetOverhead()),
			PodResources: nri.Resources(linux.GetResources()),
			CgroupParent: linux.GetCgroupParent(),
			CgroupsPath:  cgroup,
			Namespaces:   api.FromOCILinuxNamespaces(namespacesOf(r, p)),
		},
	}
}

func (r *Record) addresses() []string {
	if r.Network.IP == "" {
		return nil
	}
	return append([]string{r.Network.IP}, r.Network.AdditionalIPs...)
}

// notifyStop sends StopPodSandbox once: after the containers have ended, and before the pod loses
// its network unless a container is stuck. After a restart of the daemon a repeated stop sends it
// again, because each plugin has connected again.
func (m *Manager) notifyStop(ctx context.Context, r *Record) {
	if !r.failed() && m.stopSent.first(r.ID) {
		m.Plugins.StopPodSandbox(ctx, m.Subject(ctx, r))
	}
}

// notifyRemove sends RemovePodSandbox.
func (m *Manager) notifyRemove(ctx context.Context, r *Record) {
	m.stopSent.forget(r.ID)
	if !r.failed() {
		m.Plugins.RemovePodSandbox(ctx, r.ID, m.Subject(ctx, r))
	}
}

// failed reports whether the Run of a pod has failed, or the pod could not be adopted. NRI plugins
// do not see such a pod: they did not get it, or got its removal.
func (r *Record) failed() bool { return len(r.Unfinished) > 0 }

// Subjects returns the pods for NRI's Synchronize.
func (m *Manager) Subjects(ctx context.Context) []nri.Subject {
	var all []nri.Subject
	for _, r := range m.Select(func(r *Record) bool { return !r.failed() }) {
		all = append(all, m.Subject(ctx, r))
	}
	return all
}

// once remembers for which pods something was done. The zero value is empty.
type once struct {
	mu   sync.Mutex
	done map[string]bool
}

// first reports whether this is the first call for a pod.
func (o *once) first(id string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.done[id] {
		return false
	}
	if o.done == nil {
		o.done = map[string]bool{}
	}
	o.done[id] = true
	return true
}

func (o *once) forget(id string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.done, id)
}

// namespacesOf returns the namespaces of a pod that exist. Those of a stopped pod are gone.
func namespacesOf(r *Record, p spec.Pod) []specs.LinuxNamespace {
	if r.State == Stopped {
		return nil
	}
	var all []specs.LinuxNamespace
	for _, ns := range []struct {
		kind specs.LinuxNamespaceType
		path string
	}{
		{specs.NetworkNamespace, p.Namespaces.Net},
		{specs.IPCNamespace, p.Namespaces.IPC},
		{specs.UTSNamespace, p.Namespaces.UTS},
		{specs.PIDNamespace, p.Namespaces.PID},
		{specs.UserNamespace, p.Namespaces.User},
	} {
		if ns.path != "" {
			all = append(all, specs.LinuxNamespace{Type: ns.kind, Path: ns.path})
		}
	}
	return all
}
