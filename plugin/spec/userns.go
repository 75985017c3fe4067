// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const usernsField = namespaceField + "userns_options"

// idMaps are the id mappings of a user namespace; empty without one.
type idMaps struct {
	uids, gids []specs.LinuxIDMapping
}

func (m idMaps) empty() bool { return len(m.uids) == 0 }

// userNamespace returns the mappings of a pod or container. Nil options and mode NODE mean no user
// namespace (KEP-127).
func userNamespace(options *runtimeapi.UserNamespace) (idMaps, error) {
	switch mode := options.GetMode(); {
	case options == nil:
		return idMaps{}, nil
	case mode == modeNode:
		if len(options.GetUids())+len(options.GetGids()) > 0 {
			return idMaps{}, invalid(usernsField, "mode NODE has no mappings")
		}
		return idMaps{}, nil
	case mode != modePod:
		return idMaps{}, invalid(usernsField+".mode", "%v is not supported (use POD or NODE)", mode)
	}
	uids, err := idMapping(usernsField+".uids", options.GetUids())
	if err != nil {
		return idMaps{}, err
	}
	gids, err := idMapping(usernsField+".gids", options.GetGids())
	if err != nil {
		return idMaps{}, err
	}
	if len(uids) != 1 || len(gids) != 1 {
		return idMaps{}, invalid(usernsField, "mode POD needs one mapping of uids and one of gids")
	}
	if !mapped(uids, 0) || !mapped(gids, 0) {
		return idMaps{}, invalid(usernsField, "id 0 of the container is not mapped")
	}
	return idMaps{uids: uids, gids: gids}, nil
}

// IDMappings returns the mappings of the pod's user namespace, or none. config must have passed
// [CheckPod].
func IDMappings(config *runtimeapi.PodSandboxConfig) (uids, gids []specs.LinuxIDMapping) {
	ids, err := userNamespace(config.GetLinux().GetSecurityContext().GetNamespaceOptions().GetUsernsOptions())
	if err != nil {
		return nil, nil
	}
	return ids.uids, ids.gids
}

// idMapping converts and checks one list. It refuses empty, overflowing and overlapping ranges, and
// a mapping to the host's root, with which the namespace would isolate nothing.
func idMapping(field string, mappings []*runtimeapi.IDMapping) ([]specs.LinuxIDMapping, error) {
	list := make([]specs.LinuxIDMapping, 0, len(mappings))
	for i, m := range mappings {
		field := fmt.Sprintf("%s[%d]", field, i)
		switch last := uint64(m.GetLength()) - 1; {
		case m.GetLength() == 0:
			return nil, invalid(field+".length", "is zero")
		case uint64(m.GetHostId())+last >= math.MaxUint32, uint64(m.GetContainerId())+last >= math.MaxUint32:
			return nil, invalid(field, "exceeds the largest id, %d", uint32(math.MaxUint32-1))
		case m.GetHostId() == 0:
			return nil, invalid(field+".host_id", "0 is the host's root")
		}
		list = append(list, specs.LinuxIDMapping{ContainerID: m.GetContainerId(), HostID: m.GetHostId(), Size: m.GetLength()})
	}
	if overlap(list, containerID) || overlap(list, hostID) {
		return nil, invalid(field, "two mappings overlap")
	}
	return list, nil
}

func containerID(m specs.LinuxIDMapping) uint32 { return m.ContainerID }
func hostID(m specs.LinuxIDMapping) uint32      { return m.HostID }

func overlap(list []specs.LinuxIDMapping, first func(specs.LinuxIDMapping) uint32) bool {
	sorted := slices.SortedFunc(slices.Values(list), func(x, y specs.LinuxIDMapping) int { return cmp.Compare(first(x), first(y)) })
	for i := 1; i < len(sorted); i++ {
		if uint64(first(sorted[i-1]))+uint64(sorted[i-1].Size) > uint64(first(sorted[i])) {
			return true
		}
	}
	return false
}

func mapped(list []specs.LinuxIDMapping, id uint32) bool {
	return slices.ContainsFunc(list, func(m specs.LinuxIDMapping) bool {
		return id >= m.ContainerID && uint64(id) < uint64(m.ContainerID)+uint64(m.Size)
	})
}

// ProcessOwner returns the ids on the host of the process of a container in a user namespace; ok is
// false without one.
func ProcessOwner(s *specs.Spec) (uid, gid uint32, ok bool) {
	if len(s.Linux.UIDMappings) == 0 {
		return 0, 0, false
	}
	user := s.Process.User
	uid, uidMapped := onHost(s.Linux.UIDMappings, user.UID)
	gid, gidMapped := onHost(s.Linux.GIDMappings, user.GID)
	return uid, gid, uidMapped && gidMapped
}

func onHost(list []specs.LinuxIDMapping, id uint32) (uint32, bool) {
	for _, m := range list {
		if mapped([]specs.LinuxIDMapping{m}, id) {
			return m.HostID + id - m.ContainerID, true
		}
	}
	return 0, false
}

// userNamespace adds the container to the user namespace of its pod. The CRI has the options twice,
// for the pod and for the container; they must be equal.
func (b *builder) userNamespace() error {
	ids, err := userNamespace(b.sc.GetNamespaceOptions().GetUsernsOptions())
	if err != nil {
		return err
	}
	pod, err := userNamespace(b.podSecurity().GetNamespaceOptions().GetUsernsOptions())
	if err != nil {
		return fmt.Errorf("pod: %w", err)
	}
	if !slices.Equal(ids.uids, pod.uids) || !slices.Equal(ids.gids, pod.gids) {
		return invalid(usernsField, "differs from the pod's")
	}
	b.ids = ids
	joinUser(b.spec, b.in.Pod, ids)
	return nil
}

func joinUser(s *specs.Spec, pod Pod, ids idMaps) {
	s.Linux.UIDMappings, s.Linux.GIDMappings = ids.uids, ids.gids
	if ids.empty() {
		dropNamespace(s, specs.UserNamespace)
		return
	}
	setNamespace(s, specs.UserNamespace, pod.Namespaces.User)
}
