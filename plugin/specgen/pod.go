// SPDX-License-Identifier: Apache-2.0

package specgen

import (
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/containerd-lite/containerd-lite/plugin/config"
	"github.com/containerd-lite/containerd-lite/plugin/host"
	"github.com/containerd-lite/containerd-lite/plugin/spec"
)

// bundleRootfs is the directory in a bundle where the shim mounts the root file system.
const bundleRootfs = "rootfs"

// PodRequest is the input from which the spec of a pod's task is made.
type PodRequest struct {
	Pod         spec.Pod
	HandlerName string
	Handler     config.Handler
	SELinux     spec.Labels
	Init        string // path of the program of the pod's init; "" for a holder
}

// PodTask makes the spec of a pod's task. On the host it changes nothing, except that it loads the
// default AppArmor profile.
func (g *Generator) PodTask(req PodRequest) (*specs.Spec, error) {
	facts := g.facts(req.HandlerName)
	handler := g.handler(req.HandlerName, req.Handler)
	if req.Init == "" {
		return spec.PodHolder(req.Pod, handler, facts)
	}
	if facts.AppArmor {
		profile, err := spec.PodAppArmor(req.Pod.Config.GetLinux().GetSecurityContext())
		if err != nil {
			return nil, err
		}
		if err := host.LoadAppArmor(profile); err != nil {
			return nil, err
		}
	}
	labels := req.SELinux
	var err error
	if labels.Process, err = host.VMLabel(labels.Process, req.Handler.Type); err != nil {
		return nil, err
	}
	return spec.PodInit(spec.PodInitInput{
		Pod:     req.Pod,
		Handler: handler,
		Options: g.options(),
		Facts:   facts,
		SELinux: labels,
		Root:    bundleRootfs,
		Binary:  req.Init,
	})
}
