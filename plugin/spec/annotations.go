// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"maps"
	"path"
	"slices"
	"strconv"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/reserved"
)

// Annotations by which runtimes and shims identify pods and containers. The built-in CRI and CRI-O
// write the same.
const (
	AnnotationContainerType    = "io.kubernetes.cri.container-type"
	AnnotationSandboxID        = "io.kubernetes.cri.sandbox-id"
	AnnotationSandboxNamespace = "io.kubernetes.cri.sandbox-namespace"
	AnnotationSandboxUID       = "io.kubernetes.cri.sandbox-uid"
	AnnotationSandboxName      = "io.kubernetes.cri.sandbox-name"
	AnnotationSandboxLogDir    = "io.kubernetes.cri.sandbox-log-directory"
	AnnotationContainerName    = "io.kubernetes.cri.container-name"
	AnnotationImageName        = "io.kubernetes.cri.image-name"

	annotationSandboxCPUPeriod = "io.kubernetes.cri.sandbox-cpu-period"
	annotationSandboxCPUQuota  = "io.kubernetes.cri.sandbox-cpu-quota"
	annotationSandboxCPUShares = "io.kubernetes.cri.sandbox-cpu-shares"
	annotationSandboxMemory    = "io.kubernetes.cri.sandbox-memory"

	// annotationSubgroup names the cgroup below the systemd scope into which crun puts the
	// processes of a container. Empty means no such cgroup, as with runc: limits and usage are then
	// those of the scope, where the kubelet and monitoring tools read them.
	annotationSubgroup = "run.oci.systemd.subgroup"

	// ContainerTypeSandbox and ContainerTypeContainer are the values of AnnotationContainerType.
	ContainerTypeSandbox   = "sandbox"
	ContainerTypeContainer = "container"
)

// annotations passes on the annotations of the CRI that match the handler's globs, and no others:
// annotations control OCI runtimes (CVE-2024-3154). Annotations of an image are never passed on.
// Annotations of this package are written last and cannot be overridden.
func (b *builder) annotations() error {
	image := b.in.Config.GetImage().GetUserSpecifiedImage()
	if image == "" {
		image = b.in.Image.Name
	}
	a := b.spec.Annotations
	if a == nil {
		a = make(map[string]string)
	}
	maps.Copy(a, allowed(b.in.Pod.Config.GetAnnotations(), b.in.Handler.PodAnnotations))
	maps.Copy(a, allowed(b.in.Config.GetAnnotations(), b.in.Handler.ContainerAnnotations))
	maps.Copy(a, podAnnotations(b.in.Pod))
	a[AnnotationContainerType] = ContainerTypeContainer
	a[AnnotationContainerName] = b.in.Config.GetMetadata().GetName()
	a[AnnotationImageName] = image
	maps.Copy(a, b.in.Handler.runtimeAnnotations())
	b.spec.Annotations = a
	return nil
}

// runtimeAnnotations returns the annotations that control the OCI runtime of a handler.
func (h Handler) runtimeAnnotations() map[string]string {
	if !h.SystemdCgroup {
		return nil
	}
	return map[string]string{annotationSubgroup: ""}
}

func podAnnotations(pod Pod) map[string]string {
	meta := pod.Config.GetMetadata()
	return map[string]string{
		AnnotationSandboxID:        pod.ID,
		AnnotationSandboxNamespace: meta.GetNamespace(),
		AnnotationSandboxUID:       meta.GetUid(),
		AnnotationSandboxName:      meta.GetName(),
	}
}

// sandboxAnnotations returns the annotations of a pod's task.
func sandboxAnnotations(pod Pod) map[string]string {
	a := podAnnotations(pod)
	a[AnnotationContainerType] = ContainerTypeSandbox
	a[AnnotationSandboxLogDir] = pod.Config.GetLogDirectory()
	maps.Copy(a, sizeAnnotations(pod.Config.GetLinux().GetResources()))
	return a
}

// sizeAnnotations returns the resources of a pod, for runtimes that start a virtual machine of that
// size for it.
func sizeAnnotations(r *runtimeapi.LinuxContainerResources) map[string]string {
	if r == nil {
		return nil
	}
	decimal := func(v int64) string { return strconv.FormatInt(v, 10) }
	return map[string]string{
		annotationSandboxCPUPeriod: decimal(r.GetCpuPeriod()),
		annotationSandboxCPUQuota:  decimal(r.GetCpuQuota()),
		annotationSandboxCPUShares: decimal(r.GetCpuShares()),
		annotationSandboxMemory:    decimal(r.GetMemoryLimitInBytes()),
	}
}

// allowed returns the annotations whose key matches one of the globs and is not reserved. One
// reserved key is io.containerd.runc.v2.group, which selects the shim that the container's task
// shares.
func allowed(annotations map[string]string, globs []string) map[string]string {
	passed := make(map[string]string)
	for key, value := range reserved.Drop(annotations) {
		match := func(glob string) bool { ok, _ := path.Match(glob, key); return ok }
		if slices.ContainsFunc(globs, match) {
			passed[key] = value
		}
	}
	return passed
}
