// SPDX-License-Identifier: Apache-2.0

package container

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"github.com/containerd/nri/pkg/api"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/internal/undo"
	"github.com/containerd-lite/containerd-lite/plugin/nri"
	"github.com/containerd-lite/containerd-lite/plugin/runtime"
)

// Plugins calls the NRI plugins about containers. [nri.Plugins] implements it.
type Plugins interface {
	CreateContainer(ctx context.Context, id string, container nri.Subject) (*api.ContainerAdjustment, error)
	UndoCreateContainer(ctx context.Context, id string, container nri.Subject)
	PostCreateContainer(ctx context.Context, container nri.Subject)
	StartContainer(ctx context.Context, container nri.Subject) error
	PostStartContainer(ctx context.Context, container nri.Subject)
	UpdateContainer(ctx context.Context, id string, container nri.Subject, resources *api.LinuxResources) (*api.LinuxResources, error)
	PostUpdateContainer(ctx context.Context, container nri.Subject)
	StopContainer(ctx context.Context, container nri.Subject)
	RemoveContainer(ctx context.Context, id string, container nri.Subject)
	Seen(id string)
	// Connected reports whether any plugin is connected.
	Connected() bool
}

// pluginCalls calls the NRI plugins about containers of the node.
type pluginCalls struct {
	plugins    Plugins
	pods       Pods
	containerd Containerd
}

// adjust returns the spec of a container that is being created, with the changes that NRI plugins
// request.
func (m *Manager) adjust(ctx context.Context, req *request, s *specs.Spec, u *undo.Stack) (*specs.Spec, error) {
	r := req.record
	subject := uncreated(m.plugins.newSubject(ctx, req, s))
	u.Push("NRI plugins", func(ctx context.Context) error {
		m.Plugins.UndoCreateContainer(ctx, r.ID, subject)
		return nil
	})
	changes, err := m.Plugins.CreateContainer(ctx, r.ID, subject)
	if err != nil || changes == nil {
		return s, err
	}
	adjusted, err := m.Specs.Adjust(ctx, s, changes, r.Runtime.Handler)
	if err != nil {
		return nil, err
	}
	return adjusted, checkOwnCgroup(s.Linux.CgroupsPath, adjusted.Linux.CgroupsPath, m.OOMKilled)
}

// checkOwnCgroup refuses the cgroup that a plugin gives to a container if it exists. The shim kills
// a container by its cgroup, and would kill the processes that are in it.
func checkOwnCgroup(before, after string, oomKilled func(cgroup string) (killed, known bool)) error {
	if after == before {
		return nil
	}
	if strings.Contains(after, "..") {
		return fmt.Errorf("cgroups path %q of an NRI plugin has a component ..: %w", after, errdefs.ErrInvalidArgument)
	}
	if _, exists := oomKilled(after); exists {
		return fmt.Errorf("cgroup %s, which an NRI plugin gives to the container, exists: %w", after, errdefs.ErrFailedPrecondition)
	}
	return nil
}

// start sends StartContainer. The process of the container exists and waits.
func (c pluginCalls) start(ctx context.Context, r *Record, pid uint32) error {
	return c.plugins.StartContainer(ctx, c.subject(ctx, r.with(func(r *Record) { r.PID = pid })))
}

func (c pluginCalls) postStart(ctx context.Context, r *Record) {
	c.plugins.PostStartContainer(ctx, c.subject(ctx, r))
}

// update sends UpdateContainer. It returns the resources that plugins request instead of want, or
// nil.
func (c pluginCalls) update(ctx context.Context, r *Record, want *runtimeapi.LinuxContainerResources) (*api.LinuxResources, error) {
	return c.plugins.UpdateContainer(ctx, r.ID, c.subject(ctx, r), nri.Resources(want))
}

func (c pluginCalls) postUpdate(ctx context.Context, r *Record) {
	c.plugins.PostUpdateContainer(ctx, c.subject(ctx, r))
}

// stop sends StopContainer for a container that has ended or will not be started.
func (c pluginCalls) stop(ctx context.Context, r *Record) {
	r.life.sent.stop.Do(func() {
		r.life.sent.leaving.Store(true)
		c.plugins.StopContainer(ctx, c.subject(ctx, r))
	})
}

// remove sends RemoveContainer: once, also if the removal fails and is repeated.
func (c pluginCalls) remove(ctx context.Context, r *Record) {
	c.stop(ctx, r) // if it was not sent: the container was never started
	r.life.sent.remove.Do(func() { c.plugins.RemoveContainer(ctx, r.ID, c.subject(ctx, r)) })
}

// PluginView is what NRI plugins see and change of the containers outside of a call about one.
type PluginView struct {
	containers *containerStore
	calls      pluginCalls
	limits     limits
	specs      Specs
}

// PluginView returns the view of NRI plugins.
func (m *Manager) PluginView() PluginView {
	return PluginView{containers: m.containers, calls: m.plugins, limits: m.limits, specs: m.Specs}
}

// Subjects returns the containers for Synchronize: created or running, and StopContainer not sent.
func (v PluginView) Subjects(ctx context.Context) []nri.Subject {
	var all []nri.Subject
	for _, r := range v.containers.List() {
		p, err := v.calls.pods.Get(r.PodID)
		if err == nil && len(p.Unfinished) > 0 { // plugins do not see the pod
			continue
		}
		if r.State() != runtimeapi.ContainerState_CONTAINER_EXITED && !r.life.sent.leaving.Load() {
			all = append(all, v.calls.subject(ctx, r))
		}
	}
	return all
}

// Update changes the limits of a container.
func (v PluginView) Update(ctx context.Context, id string, want *api.LinuxResources) error {
	r, err := v.containers.Get(id)
	if err != nil {
		return err
	}
	return v.limits.change(ctx, r, func(current *specs.Spec) (*specs.Spec, error) { return v.specs.UpdateNRI(current, want) })
}

// subject returns a container as NRI plugins see it, with its spec from containerd's metadata.
func (c pluginCalls) subject(ctx context.Context, r *Record) nri.Subject {
	return func() (*api.PodSandbox, *api.Container) {
		s, labels, err := c.containerd.Spec(ctx, r.ID)
		if err != nil {
			log.G(ctx).WithError(err).WithField("container", r.ID).Warn("spec not read; NRI plugins see the container without it")
			s = &specs.Spec{}
		}
		return c.sandbox(ctx, r), pluginView(r, s, labels)
	}
}

// newSubject returns a container that is being created. The spec must not change.
func (c pluginCalls) newSubject(ctx context.Context, req *request, s *specs.Spec) nri.Subject {
	return func() (*api.PodSandbox, *api.Container) {
		r := req.record
		labels := containerLabels(r.Config.GetLabels(), req.image.Spec.Config.Labels)
		return c.sandbox(ctx, r), pluginView(r, s, runtime.KindContainer.Labels(labels))
	}
}

// uncreated returns a container without the state and time of its creation, as in the built-in CRI.
func uncreated(subject nri.Subject) nri.Subject {
	return func() (*api.PodSandbox, *api.Container) {
		p, c := subject()
		c.State, c.CreatedAt = api.ContainerState_CONTAINER_UNKNOWN, 0
		return p, c
	}
}

func (c pluginCalls) sandbox(ctx context.Context, r *Record) *api.PodSandbox {
	p, err := c.pods.Get(r.PodID)
	if err != nil {
		return &api.PodSandbox{Id: r.PodID}
	}
	return c.pods.Sandbox(ctx, p)
}

// pluginView converts a record and a spec to the container that NRI plugins see. As in the built-in
// CRI, annotations are those of the spec and the config, and labels those of containerd's
// container, which include the image's, and the config.
func pluginView(r *Record, s *specs.Spec, labels map[string]string) *api.Container {
	annotations := maps.Clone(s.Annotations)
	if annotations == nil {
		annotations = map[string]string{}
	}
	maps.Copy(annotations, r.Config.GetAnnotations())
	labels = maps.Clone(labels)
	if labels == nil {
		labels = map[string]string{}
	}
	maps.Copy(labels, r.Config.GetLabels())
	view := &api.Container{
		Id:            r.ID,
		PodSandboxId:  r.PodID,
		Name:          r.Config.GetMetadata().GetName(),
		State:         pluginState(r),
		Labels:        labels,
		Annotations:   annotations,
		Mounts:        api.FromOCIMounts(s.Mounts),
		Hooks:         api.FromOCIHooks(s.Hooks),
		Pid:           r.PID,
		CreatedAt:     r.Times.Created,
		StartedAt:     r.Times.Started,
		FinishedAt:    r.Times.Finished,
		ExitCode:      r.Exit.Code,
		StatusReason:  r.Exit.Reason,
		StatusMessage: r.Exit.Message,
		Image:         &api.Image{Name: r.Image.Ref, Digest: r.Image.Digest, ConfigDigest: r.Image.ID},
	}
	for _, d := range r.Config.GetCDIDevices() {
		view.CDIDevices = append(view.CDIDevices, &api.CDIDevice{Name: d.GetName()})
	}
	if s.Process != nil {
		viewProcess(view, s.Process)
	}
	view.Linux = pluginLinux(r, s)
	return view
}

func pluginState(r *Record) api.ContainerState {
	switch r.State() {
	case runtimeapi.ContainerState_CONTAINER_CREATED:
		return api.ContainerState_CONTAINER_CREATED
	case runtimeapi.ContainerState_CONTAINER_RUNNING:
		return api.ContainerState_CONTAINER_RUNNING
	default:
		return api.ContainerState_CONTAINER_STOPPED
	}
}

func viewProcess(view *api.Container, p *specs.Process) {
	view.Args = slices.Clone(p.Args)
	view.Env = slices.Clone(p.Env)
	view.User = &api.User{Uid: p.User.UID, Gid: p.User.GID, AdditionalGids: slices.Clone(p.User.AdditionalGids)}
	for _, l := range p.Rlimits {
		view.Rlimits = append(view.Rlimits, &api.POSIXRlimit{Type: l.Type, Hard: l.Hard, Soft: l.Soft})
	}
}

func pluginLinux(r *Record, s *specs.Spec) *api.LinuxContainer {
	view := &api.LinuxContainer{}
	if p := s.Process; p != nil {
		view.OomScoreAdj = api.Int(p.OOMScoreAdj)
		view.IoPriority = api.FromOCILinuxIOPriority(p.IOPriority)
		if p.Scheduler != nil {
			view.Scheduler = api.FromOCILinuxScheduler(p.Scheduler)
		}
	}
	if profile := r.Config.GetLinux().GetSecurityContext().GetSeccomp(); profile != nil {
		view.SeccompProfile = &api.SecurityProfile{
			ProfileType:  api.SecurityProfile_ProfileType(profile.GetProfileType()),
			LocalhostRef: profile.GetLocalhostRef(),
		}
	}
	l := s.Linux
	if l == nil {
		return view
	}
	view.Namespaces = api.FromOCILinuxNamespaces(l.Namespaces)
	view.Devices = api.FromOCILinuxDevices(l.Devices)
	view.Resources = api.FromOCILinuxResources(l.Resources, s.Annotations)
	view.CgroupsPath = l.CgroupsPath
	view.NetDevices = api.FromOCILinuxNetDevices(l.NetDevices)
	view.Sysctl = maps.Clone(l.Sysctl)
	if l.Seccomp != nil {
		view.SeccompPolicy = api.FromOCILinuxSeccomp(l.Seccomp)
	}
	if l.IntelRdt != nil {
		view.Rdt = &api.LinuxRdt{
			ClosId:           api.String(l.IntelRdt.ClosID),
			Schemata:         api.RepeatedString(l.IntelRdt.Schemata),
			EnableMonitoring: api.Bool(l.IntelRdt.EnableMonitoring),
		}
	}
	return view
}
