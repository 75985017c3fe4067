// SPDX-License-Identifier: Apache-2.0

package spec

import "github.com/opencontainers/runtime-spec/specs-go"

// PodHolder returns the runtime spec of the task of a pod without a process, for the one shim that
// takes a sandbox without args for that: ours (package shim/task, holder). It says where the pod's
// cgroup is and which namespaces are the pod's. Its process is there because who reads specs
// expects one: cAdvisor looks for its environment.
func PodHolder(pod Pod, handler Handler, facts Facts) (*specs.Spec, error) {
	cgroup, err := handler.cgroupsPath(pod.Config, pod.ID)
	if err != nil {
		return nil, err
	}
	s := &specs.Spec{
		Version:     ociVersion(facts.OCIVersion),
		Process:     &specs.Process{Cwd: "/"},
		Linux:       &specs.Linux{CgroupsPath: cgroup},
		Annotations: sandboxAnnotations(pod),
	}
	joinPod(s, pod)
	return s, nil
}
