// SPDX-License-Identifier: Apache-2.0

package adopt

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/network"
	"github.com/containerd-lite/containerd-lite/plugin/pod"
	"github.com/containerd-lite/containerd-lite/plugin/runtime"
	"github.com/containerd-lite/containerd-lite/plugin/spec"
)

// podSandboxer is the sandbox controller of pods with a pause process.
const podSandboxer = "podsandbox"

// pod converts a pod. One whose metadata or handler is unknown is not ready and names the reason:
// it can only be stopped and removed.
func (s *Store) pod(ctx context.Context, stock runtime.Stock) *pod.Record {
	var m podMetadata
	err := decodeMetadata(stock.Metadata, &m)
	if err == nil && (m.ID != stock.ID || m.Config.GetMetadata() == nil) {
		err = fmt.Errorf("metadata of pod %q: %w", m.ID, errdefs.ErrDataLoss)
	}
	if err == nil && stock.Sandboxer != "" && stock.Sandboxer != podSandboxer {
		err = fmt.Errorf("sandbox controller %q: %w", stock.Sandboxer, errdefs.ErrNotImplemented)
	}
	handler := ""
	if err == nil {
		handler, err = s.handlerOf(m.RuntimeHandler, stock.Runtime)
	}
	s.pods.set(stock.ID, known{Handler: handler, Stock: true})
	if err != nil {
		log.G(ctx).WithError(err).WithField("pod", stock.ID).
			Error("pod of containerd's built-in CRI not adopted; it is not ready, and can be stopped and removed")
		return refused(stock, m, err)
	}
	pid := s.pidOf(ctx, stock.ID)
	r := &pod.Record{
		ID:         m.ID,
		Name:       m.Name,
		Config:     m.Config,
		Requested:  m.RuntimeHandler,
		Handler:    handler,
		CreatedAt:  stock.Created.UnixNano(),
		State:      pod.Ready,
		Namespaces: namespacesOf(m, pid),
		Network:    network.Result{IP: m.IP, AdditionalIPs: m.AdditionalIPs, CNI: m.CNIResult},
		Task:       pod.Task{HasInit: true, Stock: true, PID: pid},
		SELinux:    spec.Labels{Process: m.ProcessLabel},
	}
	if stock.Spec != nil && stock.Spec.Linux != nil {
		r.SELinux.Mount = stock.Spec.Linux.MountLabel
	}
	if pid == 0 {
		r.State = pod.Stopping // the pause process has ended; what is left is released by Stop
	}
	return r
}

// refused returns the record of a pod that cannot be adopted.
func refused(stock runtime.Stock, m podMetadata, reason error) *pod.Record {
	if m.Config.GetMetadata() == nil {
		m.Config = &runtimeapi.PodSandboxConfig{
			Labels: stock.Labels,
			Metadata: &runtimeapi.PodSandboxMetadata{
				Name:      stock.Labels["io.kubernetes.pod.name"],
				Namespace: stock.Labels["io.kubernetes.pod.namespace"],
				Uid:       stock.Labels["io.kubernetes.pod.uid"],
			},
		}
	}
	return &pod.Record{
		ID:         stock.ID,
		Name:       stock.ID,
		Config:     m.Config,
		Requested:  m.RuntimeHandler,
		CreatedAt:  stock.Created.UnixNano(),
		State:      pod.Stopping,
		Namespaces: network.Namespaces{Net: m.NetNSPath},
		Task:       pod.Task{HasInit: true, Stock: true},
		Unfinished: []string{"adopt: " + reason.Error()},
	}
}

// namespacesOf returns the namespaces of a pod. The built-in CRI pins the network namespace; the
// others live as long as the pause process.
func namespacesOf(m podMetadata, pid uint32) network.Namespaces {
	options := m.Config.GetLinux().GetSecurityContext().GetNamespaceOptions()
	of := func(own bool, name string) string {
		if !own || pid == 0 {
			return ""
		}
		return fmt.Sprintf("/proc/%d/ns/%s", pid, name)
	}
	ownNet := options.GetNetwork() != runtimeapi.NamespaceMode_NODE
	ns := network.Namespaces{
		IPC:  of(options.GetIpc() != runtimeapi.NamespaceMode_NODE, "ipc"),
		UTS:  of(ownNet, "uts"),
		User: of(options.GetUsernsOptions() != nil && options.GetUsernsOptions().GetMode() == runtimeapi.NamespaceMode_POD, "user"),
	}
	if ownNet {
		ns.Net = m.NetNSPath
	}
	return ns
}

// pidOf returns the PID of a pod's pause process, or 0 if it has ended. If the shim does not answer
// in time, the PID is that in the task's bundle, as long as the process is in the pod's cgroup.
func (s *Store) pidOf(ctx context.Context, id string) uint32 {
	ctx, cancel := context.WithTimeout(ctx, taskTimeout)
	defer cancel()
	task, err := s.LoadTask(ctx, id, nil)
	if err == nil {
		var status runtime.Status
		if status, err = task.Status(ctx); err == nil && status.Status == runtime.Running {
			return task.Pid()
		}
	}
	if err == nil || errdefs.IsNotFound(err) {
		return 0
	}
	return s.pidInBundle(id)
}

func (s *Store) pidInBundle(id string) uint32 {
	text, err := os.ReadFile(filepath.Join(s.Bundles, id, "init.pid"))
	if err != nil {
		return 0
	}
	pid, err := strconv.ParseUint(string(bytes.TrimSpace(text)), 10, 32)
	if err != nil {
		return 0
	}
	cgroups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil || !bytes.Contains(cgroups, []byte(id)) {
		return 0
	}
	return uint32(pid)
}
