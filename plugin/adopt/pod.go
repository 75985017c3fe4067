// SPDX-License-Identifier: Apache-2.0

package adopt

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
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
func (s *Store) pod(ctx context.Context, found runtime.BuiltIn) *pod.Record {
	m, handler, err := s.metadata(found)
	s.pods.Store(found.ID, adoptedPod{handler, cmp.Or(found.Sandboxer, runtime.PodSandboxer), encodeResources(m.Config, false)})
	if err != nil {
		log.G(ctx).WithError(err).WithField("pod", found.ID).
			Error("pod of containerd's built-in CRI not adopted; it is NotReady, and the kubelet replaces it; " +
				"see the error, and run `containerd-lite adopt --dry-run` on other nodes before the change")
		return refused(found, m, err)
	}
	pid := s.pidOf(ctx, found.ID)
	r := &pod.Record{
		ID:         m.ID,
		Name:       m.Name,
		Config:     m.Config,
		Requested:  m.RuntimeHandler,
		Handler:    handler,
		CreatedAt:  found.Created.UnixNano(),
		State:      pod.Ready,
		Namespaces: s.namespacesOf(m, pid),
		Network:    network.Result{IP: m.IP, AdditionalIPs: m.AdditionalIPs, CNI: m.CNIResult},
		HasInit:    true, // the pause process
		PID:        pid,
		SELinux:    spec.Labels{Process: m.ProcessLabel},
	}
	if found.Spec != nil && found.Spec.Linux != nil {
		r.SELinux.Mount = found.Spec.Linux.MountLabel
	}
	if pid == 0 {
		r.State = pod.Stopping // Stop releases what is left
	}
	return r
}

// metadata returns the metadata of a pod, with its resources after the last update, and its
// handler. With an error the metadata may be empty.
func (s *Store) metadata(found runtime.BuiltIn) (m podMetadata, handler string, err error) {
	if err := decodeMetadata(found.Metadata, &m); err != nil {
		return podMetadata{}, "", err
	}
	if m.ID != found.ID { // its network may be that of another pod
		return podMetadata{}, "", fmt.Errorf("record belongs to pod %q: %w", m.ID, errdefs.ErrDataLoss)
	}
	if m.Config.GetMetadata() == nil {
		return podMetadata{}, "", fmt.Errorf("metadata has no config: %w", errdefs.ErrDataLoss)
	}
	if !s.isNetNS(m.NetNSPath) {
		path := m.NetNSPath
		m.NetNSPath = ""
		return m, "", fmt.Errorf("network namespace %s is not directly below one of %s: %w", path, strings.Join(s.netnsDirs(), ", "), errdefs.ErrDataLoss)
	}
	if len(found.Resources) > 0 {
		updated, err := decodeResources(found.Resources)
		if err != nil {
			return m, "", err
		}
		updated.apply(m.Config)
	}
	if found.Sandboxer != "" && found.Sandboxer != runtime.PodSandboxer {
		return m, "", fmt.Errorf("pods of sandbox controller %q cannot be adopted: %w", found.Sandboxer, errdefs.ErrNotImplemented)
	}
	handler, err = s.handlerOf(m, found)
	return m, handler, err
}

// isNetNS reports whether a path may be that of a pinned network namespace, which is unmounted and
// removed with the pod.
func (s *Store) isNetNS(path string) bool {
	return path == "" || path == filepath.Clean(path) && slices.Contains(s.netnsDirs(), filepath.Dir(path))
}

func (s *Store) netnsDirs() []string {
	return []string{"/var/run/netns", "/run/netns", s.Paths.NetNS()}
}

// refused returns the record of a pod that cannot be adopted.
func refused(found runtime.BuiltIn, m podMetadata, reason error) *pod.Record {
	if m.Config.GetMetadata() == nil {
		m.Config = &runtimeapi.PodSandboxConfig{
			Labels: found.Labels,
			Metadata: &runtimeapi.PodSandboxMetadata{
				Name:      found.Labels["io.kubernetes.pod.name"],
				Namespace: found.Labels["io.kubernetes.pod.namespace"],
				Uid:       found.Labels["io.kubernetes.pod.uid"],
			},
		}
	}
	return &pod.Record{
		ID:         found.ID,
		Name:       found.ID,
		Config:     m.Config,
		Requested:  m.RuntimeHandler,
		CreatedAt:  found.Created.UnixNano(),
		State:      pod.Stopping,
		Namespaces: network.Namespaces{Net: m.NetNSPath},
		HasInit:    true,
		Unfinished: []string{reason.Error()},
	}
}

// namespacesOf returns the namespaces of a pod. The built-in CRI pins the network and the user
// namespace; the others exist as long as the pause process.
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
		ns.UTS = ofPause("uts")
		ns.Net = cmp.Or(m.NetNSPath, ofPause("net")) // never the node's
	}
	if users := options.GetUsernsOptions(); users != nil && users.GetMode() == runtimeapi.NamespaceMode_POD {
		ns.User = ofPause("user")
		if pinned := s.Paths.Pod(m.ID).PinnedUser(); exists(pinned) { // since containerd 2.0
			ns.User = pinned
		}
	}
	return ns
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// taskTimeout bounds the question for the state of a pod's task: its shim may be stuck.
const taskTimeout = 2 * time.Second

// pidOf returns the PID of a pod's pause process, or 0 if it does not run. If the shim does not
// answer within taskTimeout, or reports another state, the PID is read from the task's bundle.
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
