// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"context"
	"fmt"
	"maps"

	"github.com/containerd/log"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/plugin/config"
	"github.com/containerd-lite/containerd-lite/plugin/network"
	"github.com/containerd-lite/containerd-lite/plugin/runtime"
	"github.com/containerd-lite/containerd-lite/plugin/spec"
)

// Run makes a pod and returns its id. An equal call joins or takes over one
// whose caller has gone (see package retry); another pod with the same
// metadata is AlreadyExists.
func (m *Manager) Run(ctx context.Context, c *runtimeapi.PodSandboxConfig, handler string) (string, error) {
	if err := spec.CheckPod(c); err != nil {
		return "", err
	}
	request, err := proto.MarshalOptions{Deterministic: true}.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("pod sandbox config: %w", err)
	}
	return m.runs.Do(ctx, handler+"\x00"+string(request), func(ctx context.Context) (string, error) {
		id, err := guard.Value(ctx, "run", func() (string, error) { return m.run(ctx, c, handler) })
		if err != nil {
			return "", fmt.Errorf("%s: %w", podName(c), err)
		}
		return id, nil
	})
}

// run is the list of steps that make a pod. teardown is the way back from each. The record is
// saved before anything is made, and says where it is going to be, so that nothing is lost track of
// in a crash. From then on it is frozen: the results of the steps become part of the next record.
func (m *Manager) run(ctx context.Context, c *runtimeapi.PodSandboxConfig, requested string) (string, error) {
	r, handler, err := m.draft(c, requested)
	if err != nil {
		return "", err
	}
	if err := m.undoing.wait(ctx, r.Name); err != nil {
		return "", err
	}
	if err := m.pods.Reserve(r.ID, r.Name); err != nil {
		return "", err
	}
	r.SELinux, err = guard.Value(ctx, "labels", func() (spec.Labels, error) {
		return m.Labels.Labels(c.GetLinux().GetSecurityContext().GetSelinuxOptions(), "")
	})
	if err != nil {
		m.pods.Forget(r.ID)
		return "", err
	}
	if err := guard.Call(ctx, "save", func() error { return m.create(ctx, r, handler.Type) }); err != nil {
		m.forget(r)
		return "", err
	}
	made, err := guard.Value(ctx, "make", func() (result, error) { return m.occupy(ctx, r) })
	if err == nil {
		err = guard.Call(ctx, "show", func() error { return m.show(ctx, r, made) })
	}
	if err != nil {
		m.abandon(ctx, r)
		return "", err
	}
	return r.ID, nil
}

// draft returns the record of a new pod, or why there can be no such pod. It makes nothing.
func (m *Manager) draft(c *runtimeapi.PodSandboxConfig, requested string) (*Record, config.Handler, error) {
	resolved, handler, err := m.handler(c, requested)
	if err != nil {
		return nil, handler, err
	}
	if err := m.CheckShim(handler); err != nil {
		return nil, handler, fmt.Errorf("runtime handler %s: %w", resolved, err)
	}
	hostname, err := m.hostname(c)
	if err != nil {
		return nil, handler, err
	}
	r := &Record{
		ID:        m.NewID(),
		Hostname:  hostname,
		Name:      name(c.GetMetadata()),
		Config:    c,
		Requested: requested,
		Handler:   resolved,
		CreatedAt: m.Now().UnixNano(),
		BootID:    m.BootID,
		State:     Creating,
	}
	r.HasInit = needsInit(r, handler)
	r.Namespaces = m.Namespaces.Plan(m.pinOptions(r))
	return r, handler, network.Check(r.network(), m.pinOptions(r))
}

// hostname is the name of a pod on its own machine. It is read once: after the host was renamed,
// the pod still has one name.
func (m *Manager) hostname(c *runtimeapi.PodSandboxConfig) (string, error) {
	if name := c.GetHostname(); name != "" {
		return name, nil
	}
	return m.Hostname()
}

// result is what the steps that make a pod found out.
type result struct {
	network network.Result
	pid     uint32 // of the pod's task
}

// occupy pins the namespaces of a pod, makes its files, attaches it to the network and
// starts its task. The files come before the network and go last: where anything of a
// pod is back after a power failure, they are (see stray.go). A holder needs no more
// than the namespaces: it starts beside the network. An init may look at
// the network in its start, as a virtual machine does, and starts after it.
func (m *Manager) occupy(ctx context.Context, r *Record) (made result, err error) {
	if _, err := m.Namespaces.Pin(ctx, m.pinOptions(r)); err != nil {
		return made, fmt.Errorf("namespaces: %w", err)
	}
	if err := m.Files.Create(r.ID, r.Hostname, r.Config); err != nil {
		return made, fmt.Errorf("pod files: %w", err)
	}
	if r.HasInit {
		if made.network, err = m.attach(ctx, r); err != nil {
			return made, err
		}
		made.pid, err = m.startTask(ctx, r)
		return made, err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(guard.Func(ctx, "attach", func() (err error) { made.network, err = m.attach(ctx, r); return err }))
	group.Go(guard.Func(ctx, "start", func() (err error) { made.pid, err = m.startTask(ctx, r); return err }))
	err = group.Wait()
	return made, err
}

func (m *Manager) attach(ctx context.Context, r *Record) (network.Result, error) {
	if r.HostNetwork() {
		return network.Result{}, nil
	}
	attached, err := m.Network.Attach(ctx, r.network())
	if err != nil {
		return attached, fmt.Errorf("attach network: %w", err)
	}
	if err := m.Namespaces.Tune(m.pinOptions(r)); err != nil {
		return attached, fmt.Errorf("namespaces: %w", err)
	}
	return attached, nil
}

func (m *Manager) startTask(ctx context.Context, r *Record) (uint32, error) {
	pid, err := m.Tasks.Start(ctx, r)
	if err != nil {
		return 0, fmt.Errorf("pod task: %w", err)
	}
	return pid, nil
}

// show makes a pod ready. Its task is watched before any caller can see the pod, and stop it.
func (m *Manager) show(ctx context.Context, r *Record, made result) error {
	w := m.watch(r)
	_, err := m.pods.Update(ctx, r.ID, func(r *Record) (*Record, error) {
		return r.with(func(r *Record) {
			r.State, r.Network = Ready, made.network
			if r.PID == 0 { // else the watch has replaced the task
				r.PID = made.pid
			}
		}), nil
	})
	if err == nil {
		close(w.shown)
	}
	return err
}

// needsInit reports whether the task of a pod is a process. One whose containers
// share a PID namespace does: the namespace ends with its first process. And so
// does every pod of another shim than ours: shims expect the container of the
// pod first, that of a virtual machine boots with it, and that of runc removes
// its socket with it.
func needsInit(r *Record, h config.Handler) bool {
	return r.SharesPID() || h.Type != config.LiteRuntimeType
}

// create saves a new record and lets the store know it.
func (m *Manager) create(ctx context.Context, r *Record, runtimeType string) error {
	err := m.Records.CreateSandbox(ctx, runtime.Sandbox{ID: r.ID, Labels: r.Config.GetLabels(), Runtime: runtimeType, Record: r})
	if err != nil {
		return fmt.Errorf("save record: %w", err)
	}
	return m.pods.Put(r)
}

// abandon gives back what a Run that failed has made. What cannot be given back now stays in the
// record, for Stop and Remove.
func (m *Manager) abandon(ctx context.Context, r *Record) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	left, err := m.tearDown(ctx, r, nil)
	if err == nil {
		err = guard.Call(ctx, "delete record", func() error { return m.Records.DeleteSandbox(ctx, r.ID) })
		if err == nil {
			m.forget(r)
			return
		}
	}
	log.G(ctx).WithError(err).WithField("pod", r.ID).Error("rollback of a failed RunPodSandbox is incomplete; stop and remove the pod")
	_, _, _ = m.pods.Settle(ctx, r.ID, func(r *Record) *Record { // the record is there: it was not forgotten
		return r.with(func(r *Record) { r.State, r.Unfinished = Stopping, left })
	})
}

// forget ends a record of which nothing is left.
func (m *Manager) forget(r *Record) {
	m.Labels.Release(r.SELinux.Process)
	m.pods.Forget(r.ID)
}

func (m *Manager) pinOptions(r *Record) network.PinOptions {
	ns := r.namespaceOptions()
	opts := network.PinOptions{
		ID:       r.ID,
		Net:      !r.HostNetwork(),
		IPC:      ns.GetIpc() != runtimeapi.NamespaceMode_NODE,
		UTS:      !r.HostNetwork(), // a pod on the host's network has the host's name
		Hostname: r.Hostname,
		Sysctls:  maps.Clone(r.Config.GetLinux().GetSysctls()),
	}
	if opts.Sysctls == nil {
		opts.Sysctls = make(map[string]string)
	}
	if uids, gids := spec.IDMappings(r.Config); uids != nil {
		opts.User = &network.UserNamespace{UIDs: idMapping(uids[0]), GIDs: idMapping(gids[0])}
	}
	byDefault := func(on bool, key, value string) {
		if _, set := opts.Sysctls[key]; on && opts.Net && !set {
			opts.Sysctls[key] = value
		}
	}
	byDefault(m.UnprivilegedPorts, "net.ipv4.ip_unprivileged_port_start", "0")
	// A user namespace has no such range of groups.
	byDefault(m.UnprivilegedICMP && opts.User == nil, "net.ipv4.ping_group_range", "0 2147483647")
	return opts
}

func idMapping(m specs.LinuxIDMapping) network.IDMapping {
	return network.IDMapping{Container: m.ContainerID, Host: m.HostID, Size: m.Size}
}

// network is what the CNI plugins are told of the pod.
func (r *Record) network() network.Pod {
	meta := r.Config.GetMetadata()
	return network.Pod{
		ID:           r.ID,
		Name:         meta.GetName(),
		Namespace:    meta.GetNamespace(),
		UID:          meta.GetUid(),
		NetNS:        r.Namespaces.Net,
		Handler:      r.Handler,
		PortMappings: r.Config.GetPortMappings(),
		DNS:          r.Config.GetDnsConfig(),
		Annotations:  r.Config.GetAnnotations(),
		CgroupParent: r.Config.GetLinux().GetCgroupParent(),
	}
}
