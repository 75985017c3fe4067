// SPDX-License-Identifier: Apache-2.0

package spec

import "github.com/opencontainers/runtime-spec/specs-go"

// PodHolder returns the runtime spec of a holder, the task of a pod without a process. Only the
// lite shim accepts such a spec: a sandbox without args (shim/task/holder.go). The spec has the
// pod's cgroup and namespaces. It has a process, because readers of specs expect one: cAdvisor
// looks for its environment.
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

// PodCgroup returns the cgroup of a pod's task, in the notation of the handler's cgroup driver.
func PodCgroup(pod Pod, handler Handler) (string, error) {
	return handler.cgroupsPath(pod.Config, pod.ID)
}

// PodAnnotations returns the annotations by which shims and tools identify a pod.
func PodAnnotations(pod Pod) map[string]string { return sandboxAnnotations(pod) }
