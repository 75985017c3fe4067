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

// Run creates a pod and returns its ID. A call with an equal request joins a call in progress, or
// takes over one whose caller gave up (see package join). Another pod with the same metadata is
// AlreadyExists.
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

// run is the list of steps that create a pod; teardown releases the results of each. The record is
// saved before anything is created and names all resources, so that none is lost in a crash. It is
// frozen from then on: the results of the steps go into the next record.
func (m *Manager) run(ctx context.Context, c *runtimeapi.PodSandboxConfig, requested string) (string, error) {
	r, handler, err := m.draft(c, requested)
	if err != nil {
		return "", err
	}
	if err := m.rollbacks.wait(ctx, r.Name); err != nil {
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
		m.pods.Forget(r.ID)
		m.Labels.Release(r.SELinux.Process)
		return "", err
	}
	made, err := guard.Value(ctx, "set up", func() (setUpResult, error) { return m.setUp(ctx, r) })
	if err == nil {
		err = m.admit(ctx, r, made)
	}
	if err != nil {
		m.rollBack(ctx, r)
		return "", err
	}
	return r.ID, nil
}

// draft returns the record of a new pod, or the reason why there can be no such pod. It creates
// nothing.
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

// hostname returns the requested hostname or the current one of the host. It is read once per pod,
// so that the pod keeps its name when the host is renamed.
func (m *Manager) hostname(c *runtimeapi.PodSandboxConfig) (string, error) {
	if name := c.GetHostname(); name != "" {
		return name, nil
	}
	return m.Hostname()
}

// setUpResult has the results of the steps that set up a pod.
type setUpResult struct {
	network network.Result
	pid     uint32 // of the pod's task
}

// setUp pins the namespaces of a pod, creates its files, attaches it to the network and starts its
// task. The files are created before the network and removed after it, because strays are found by
// their files (see stray.go). A holder needs only the namespaces and starts in parallel with the
// CNI plugins. An init starts after them: the shim of a virtual machine reads the network
// configuration when it starts.
func (m *Manager) setUp(ctx context.Context, r *Record) (made setUpResult, err error) {
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
		made.pid, err = m.startTask(ctx, r.with(func(r *Record) { r.Network = made.network }))
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

// admit asks the NRI plugins whether the pod may run, and makes it ready.
func (m *Manager) admit(ctx context.Context, r *Record, made setUpResult) error {
	subject := m.Subject(ctx, r.with(func(r *Record) { r.State, r.Network, r.PID = Ready, made.network, made.pid }))
	if err := m.Plugins.RunPodSandbox(ctx, r.ID, subject); err != nil {
		return err
	}
	if err := guard.Call(ctx, "make ready", func() error { return m.makeReady(ctx, r, made) }); err != nil {
		m.Plugins.StopPodSandbox(ctx, subject)
		m.Plugins.RemovePodSandbox(ctx, r.ID, subject)
		return err
	}
	m.Plugins.Seen(r.ID)
	return nil
}

// makeReady makes a pod ready. The watch of its task starts before callers can see and stop the
// pod.
func (m *Manager) makeReady(ctx context.Context, r *Record, made setUpResult) error {
	w := m.watches.start(r)
	_, err := m.pods.Update(ctx, r.ID, func(r *Record) (*Record, error) {
		return r.with(func(r *Record) {
			r.State, r.Network = Ready, made.network
			if r.PID == 0 { // otherwise the watch has restarted the task
				r.PID = made.pid
			}
		}), nil
	})
	if err == nil {
		close(w.visible)
	}
	return err
}

// needsInit reports whether the task of a pod has a process. Pods with a shared PID namespace need
// one, because the namespace ends with its first process. Pods with a user namespace need one,
// because after a change to containerd's built-in CRI new containers join the namespaces of the
// task, and a holder is a thread, which cannot be in a user namespace of its own. With other shims
// than ours every pod needs one: these shims expect the pod's container first, a virtual machine
// boots with it, and containerd-shim-runc-v2 removes its socket with it.
func needsInit(r *Record, h config.Handler) bool {
	return r.SharesPID() || r.HasUserNamespace() || h.Type != config.LiteRuntimeType
}

// create saves a new record and adds it to the store.
func (m *Manager) create(ctx context.Context, r *Record, runtimeType string) error {
	err := m.Records.CreateSandbox(ctx, runtime.Sandbox{ID: r.ID, Labels: r.Config.GetLabels(), Runtime: runtimeType, Record: r})
	if err != nil {
		return fmt.Errorf("save record: %w", err)
	}
	return m.pods.Put(r)
}

// rollBack tears down the pod of a failed Run. If a step fails, the pod is kept as not ready, so
// that Stop and Remove can repeat the teardown.
func (m *Manager) rollBack(ctx context.Context, r *Record) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackTimeout)
	defer cancel()
	failed, err := m.releaser.tearDown(ctx, r, nil, func() {})
	if err == nil {
		err = guard.Call(ctx, "delete record", func() error { return m.deleteRecord(ctx, r) })
		if err == nil {
			return
		}
		failed = []string{stepRecord}
	}
	log.G(ctx).WithError(err).WithField("pod", r.ID).Error("rollback of a failed RunPodSandbox is incomplete; stop and remove the pod")
	_, _, _ = m.pods.Settle(ctx, r.ID, func(r *Record) *Record { // the record exists
		return r.with(func(r *Record) { r.State, r.Unfinished = Stopping, failed })
	})
}

// deleteRecord deletes the record of a pod that has no other resources than its name and its
// SELinux label, and releases both.
func (m *Manager) deleteRecord(ctx context.Context, r *Record) error {
	return m.pods.Delete(r.ID, func() error {
		if err := m.Records.DeleteSandbox(ctx, r.ID); err != nil {
			return fmt.Errorf("delete record: %w", err)
		}
		m.Labels.Release(r.SELinux.Process)
		return nil
	})
}

func (m *Manager) pinOptions(r *Record) network.PinOptions {
	opts := network.PinOptions{
		ID:       r.ID,
		Net:      !r.HostNetwork(),
		IPC:      !r.HostIPC(),
		UTS:      !r.HostNetwork(), // with the host network the pod has the hostname of the host
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
	unprivileged := m.Unprivileged()
	byDefault(unprivileged.Ports, "net.ipv4.ip_unprivileged_port_start", "0")
	// The kernel refuses this range in a user namespace, where these group IDs are not mapped.
	byDefault(unprivileged.ICMP && opts.User == nil, "net.ipv4.ping_group_range", "0 2147483647")
	return opts
}

func idMapping(m specs.LinuxIDMapping) network.IDMapping {
	return network.IDMapping{Container: m.ContainerID, Host: m.HostID, Size: m.Size}
}

// network returns the description of the pod for the CNI plugins.
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
