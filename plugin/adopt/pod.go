// SPDX-License-Identifier: Apache-2.0

package adopt

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/network"
	"github.com/containerd-lite/containerd-lite/plugin/pod"
	"github.com/containerd-lite/containerd-lite/plugin/runtime"
	"github.com/containerd-lite/containerd-lite/plugin/spec"
)

// pod converts a pod. One that cannot be adopted is not ready and names the reason: it can only be
// stopped and removed.
func (s *Store) pod(ctx context.Context, stock runtime.Stock) *pod.Record {
	m, handler, err := s.metadata(stock)
	remembered := known{handler: handler, sandboxer: cmp.Or(stock.Sandboxer, runtime.PodSandboxer)}
	remembered.resources, _ = json.Marshal(resourcesOf(m.Config)) // never fails
	s.pods.set(stock.ID, remembered)
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
		Namespaces: s.namespacesOf(m, pid),
		Network:    network.Result{IP: m.IP, AdditionalIPs: m.AdditionalIPs, CNI: m.CNIResult},
		Task:       pod.Task{HasInit: true, Stock: true, PID: pid},
		SELinux:    spec.Labels{Process: m.ProcessLabel},
	}
	if stock.Spec != nil && stock.Spec.Linux != nil {
		r.SELinux.Mount = stock.Spec.Linux.MountLabel
	}
	if pid == 0 {
		r.State = pod.Stopping // Stop releases what is left
	}
	return r
}

// metadata returns the metadata of a pod, with its resources after the last update, and its
// handler. With an error the metadata may be empty.
func (s *Store) metadata(stock runtime.Stock) (m podMetadata, handler string, err error) {
	if err := decodeMetadata(stock.Metadata, &m); err != nil {
		return podMetadata{}, "", err
	}
	if m.ID != stock.ID || m.Config.GetMetadata() == nil { // its network may be that of another pod
		return podMetadata{}, "", fmt.Errorf("metadata of pod %q: %w", m.ID, errdefs.ErrDataLoss)
	}
	if !s.isNetNS(m.NetNSPath) {
		path := m.NetNSPath
		m.NetNSPath = ""
		return m, "", fmt.Errorf("network namespace %s is not in a directory of network namespaces: %w", path, errdefs.ErrDataLoss)
	}
	if len(stock.Resources) > 0 {
		var updated updatedResources
		if err := json.Unmarshal(stock.Resources, &updated); err != nil {
			return m, "", fmt.Errorf("decode updated resources: %w", err)
		}
		if m.Config.Linux == nil {
			m.Config.Linux = &runtimeapi.LinuxPodSandboxConfig{}
		}
		m.Config.Linux.Overhead, m.Config.Linux.Resources = updated.Overhead, updated.Resources
	}
	if stock.Sandboxer != "" && stock.Sandboxer != runtime.PodSandboxer {
		return m, "", fmt.Errorf("sandbox controller %q: %w", stock.Sandboxer, errdefs.ErrNotImplemented)
	}
	handler, err = s.handlerOf(m, stock)
	return m, handler, err
}

// isNetNS reports whether a path may be that of a pinned network namespace, which is unmounted and
// removed with the pod.
func (s *Store) isNetNS(path string) bool {
	dirs := []string{"/var/run/netns", "/run/netns", s.Paths.NetNS()}
	return path == "" || path == filepath.Clean(path) && slices.Contains(dirs, filepath.Dir(path))
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

// namespacesOf returns the namespaces of a pod. The built-in CRI pins the network namespace and,
// since containerd 2.1, the user namespace; the others live as long as the pause process.
func (s *Store) namespacesOf(m podMetadata, pid uint32) (ns network.Namespaces) {
	options := m.Config.GetLinux().GetSecurityContext().GetNamespaceOptions()
	ofPause := func(name string) string {
		if pid == 0 {
			return ""
		}
		return fmt.Sprintf("/proc/%d/ns/%s", pid, name)
	}
	if options.GetIpc() != runtimeapi.NamespaceMode_NODE {
		ns.IPC = ofPause("ipc")
	}
	if options.GetNetwork() != runtimeapi.NamespaceMode_NODE {
		ns.UTS, ns.Net = ofPause("uts"), m.NetNSPath
	}
	if users := options.GetUsernsOptions(); users != nil && users.GetMode() == runtimeapi.NamespaceMode_POD {
		ns.User = ofPause("user")
		if _, err := os.Stat(s.userNamespace(m.ID)); err == nil {
			ns.User = s.userNamespace(m.ID)
		}
	}
	return ns
}

// taskTimeout bounds the question for the state of a pod's task: its shim may be stuck.
const taskTimeout = 2 * time.Second

// pidOf returns the PID of a pod's pause process, or 0 if it has ended. If the shim does not answer
// in time, or does not know the state, the PID is that in the task's bundle, as long as the process
// is in the pod's cgroup.
func (s *Store) pidOf(ctx context.Context, id string) uint32 {
	ctx, cancel := context.WithTimeout(ctx, taskTimeout)
	defer cancel()
	task, err := s.LoadTask(ctx, id, nil)
	if errdefs.IsNotFound(err) {
		return 0
	}
	if err != nil {
		return s.pidInBundle(id)
	}
	status, err := task.Status(ctx)
	switch {
	case errdefs.IsNotFound(err), status.Status == runtime.Stopped, status.Status == runtime.Created:
		return 0
	case err == nil && (status.Status == runtime.Running || status.Status == runtime.Paused):
		return task.Pid()
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
