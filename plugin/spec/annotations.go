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

// The annotations that runtimes and shims know pods and containers by; the built-in CRI and CRI-O
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

	// annotationSubgroup names the cgroup that crun puts a container's processes in, below the
	// scope of systemd. Empty is none, as with runc: limits and usage are then those of the scope,
	// where everybody reads them.
	annotationSubgroup = "run.oci.systemd.subgroup"

	// ContainerTypeSandbox and ContainerTypeContainer are the values of AnnotationContainerType.
	ContainerTypeSandbox   = "sandbox"
	ContainerTypeContainer = "container"
)

// annotations passes on what the handler's globs let through, and nothing else: annotations steer
// OCI runtimes (CVE-2024-3154), and those of an image never count. Our own come last and cannot be
// overridden.
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

// runtimeAnnotations steer the OCI runtime of a handler.
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

// sandboxAnnotations are those of the container that stands for the pod.
func sandboxAnnotations(pod Pod) map[string]string {
	a := podAnnotations(pod)
	a[AnnotationContainerType] = ContainerTypeSandbox
	a[AnnotationSandboxLogDir] = pod.Config.GetLogDirectory()
	maps.Copy(a, sizeAnnotations(pod.Config.GetLinux().GetResources()))
	return a
}

// sizeAnnotations tell runtimes that make a machine for the pod how large it has to be.
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

// allowed returns the annotations whose key matches one of the globs and is not reserved: a shim
// takes io.containerd.runc.v2.group for the tasks that the container may share a process with.
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
