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

	"github.com/containerd-lite/containerd-lite/internal/undo"
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
		r := &Record{
			ID:        m.NewID(),
			Name:      name(c.GetMetadata()),
			Config:    c,
			Requested: handler,
			CreatedAt: m.Now().UnixNano(),
			BootID:    m.BootID,
			State:     Creating,
		}
		if err := m.run(ctx, r); err != nil {
			return "", fmt.Errorf("%s: %w", r, err)
		}
		return r.ID, nil
	})
}

// run is the list of steps that make a pod. Each step pushes its undo before it
// is done: half a step is undone, too.
func (m *Manager) run(ctx context.Context, r *Record) (err error) {
	name, handler, err := m.Handlers.Handler(r.Requested)
	if err != nil {
		return err
	}
	r.Handler = name
	r.HasInit = needsInit(r, handler)
	if err := m.CheckShim(handler); err != nil {
		return fmt.Errorf("runtime handler %s: %w", name, err)
	}
	if err := network.Check(r.network(), m.pinOptions(r)); err != nil {
		return err
	}
	if err := m.pods.Reserve(r.ID, r.Name); err != nil {
		return err
	}
	if r.SELinux, err = m.Labels.Labels(r.Config.GetLinux().GetSecurityContext().GetSelinuxOptions(), ""); err != nil {
		m.pods.Forget(r.ID)
		return err
	}
	// The record is saved before anything is made, and says where it is going
	// to be, so that a crash leaves nothing that nobody knows of.
	r.Namespaces = m.Namespaces.Plan(m.pinOptions(r))
	if err := m.create(ctx, r, handler.Type); err != nil {
		m.forget(r)
		return err
	}
	var u undo.Stack
	defer func() {
		if err != nil {
			m.abandon(ctx, r, &u)
		}
	}()
	u.Push("network", func(ctx context.Context) error { return m.disconnect(ctx, r) })
	if _, err = m.Namespaces.Pin(ctx, m.pinOptions(r)); err != nil {
		return fmt.Errorf("namespaces: %w", err)
	}
	u.Push("files", func(context.Context) error { return m.Files.Remove(r.ID) })
	u.Push("task", func(ctx context.Context) error { return m.Tasks.Stop(ctx, r.ID) })
	if err = m.occupy(ctx, r); err != nil {
		return err
	}
	_, err = m.pods.Update(ctx, r.ID, func(*Record) (*Record, error) {
		return r.with(func(r *Record) { r.State = Ready }), nil
	})
	if err != nil {
		return err
	}
	u.Keep()
	m.watch(r)
	return nil
}

// occupy makes the files of a pod, attaches its namespaces to the network and
// starts its task. The files come first and go last: where there is anything of a
// pod after a loss of power, there are they (see stray.go). A holder needs no more
// than the namespaces: it starts beside the network. Who waits for an init may look at
// the network in its start, as a virtual machine does.
func (m *Manager) occupy(ctx context.Context, r *Record) error {
	if err := m.makeFiles(r); err != nil {
		return err
	}
	if r.HasInit {
		if err := m.attach(ctx, r); err != nil {
			return err
		}
		return m.startTask(ctx, r)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return m.attach(ctx, r) })
	group.Go(func() error { return m.startTask(ctx, r) })
	return group.Wait()
}

func (m *Manager) makeFiles(r *Record) error {
	if err := m.Files.Create(r.ID, r.Config); err != nil {
		return fmt.Errorf("pod files: %w", err)
	}
	return nil
}

func (m *Manager) attach(ctx context.Context, r *Record) (err error) {
	if r.HostNetwork() {
		return nil
	}
	if r.Network, err = m.Network.Attach(ctx, r.network()); err != nil {
		return fmt.Errorf("attach network: %w", err)
	}
	return nil
}

func (m *Manager) startTask(ctx context.Context, r *Record) (err error) {
	if r.PID, err = m.Tasks.Start(ctx, r); err != nil {
		return fmt.Errorf("pod task: %w", err)
	}
	return nil
}

// needsInit tells whether the task of a pod is a process. One whose containers
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
	created := *r
	return m.pods.Put(&created)
}

// abandon undoes a failed run. What cannot be undone now stays in the record,
// which Stop and Remove then take care of.
func (m *Manager) abandon(ctx context.Context, r *Record, u *undo.Stack) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoLimit)
	defer cancel()
	left, err := u.Run(ctx)
	if err == nil {
		if err = m.Records.DeleteSandbox(ctx, r.ID); err == nil {
			m.forget(r)
			return
		}
	}
	log.G(ctx).WithError(err).WithField("pod", r.ID).Error("a pod that was not made left something behind; stop and remove it")
	_, err = m.pods.Update(ctx, r.ID, func(*Record) (*Record, error) {
		return r.with(func(r *Record) { r.State, r.Unfinished = Stopping, left }), nil
	})
	if err != nil {
		log.G(ctx).WithError(err).WithField("pod", r.ID).Error("unfinished pod is known only until the next restart")
	}
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
		Hostname: r.Config.GetHostname(),
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
