// SPDX-License-Identifier: Apache-2.0

package network

import (
	"fmt"
	"math"
	"strings"

	"github.com/containerd/errdefs"
	gocni "github.com/containerd/go-cni"
	"github.com/containernetworking/cni/libcni"
	"k8s.io/apimachinery/pkg/api/resource"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const (
	// Annotations that limit the bandwidth of a pod, in bits per second.
	ingressBandwidth = "kubernetes.io/ingress-bandwidth"
	egressBandwidth  = "kubernetes.io/egress-bandwidth"

	// annotationsCapability is the CNI capability of containerd's CRI that passes the pod's
	// annotations to plugins.
	annotationsCapability = "io.kubernetes.cri.pod-annotations"
)

// Pod describes a pod to CNI plugins.
type Pod struct {
	ID, Name, Namespace, UID string

	NetNS        string // path of the pinned network namespace; may be empty or gone in Detach
	Handler      string // runtime handler, which selects the CNI configuration
	PortMappings []*runtimeapi.PortMapping
	DNS          *runtimeapi.DNSConfig
	Annotations  map[string]string
	CgroupParent string
}

// runtimeConf returns the arguments for plugins, except the interface name. With an error it
// returns them, too, without the bandwidth if an annotation is invalid.
func (p Pod) runtimeConf() (libcni.RuntimeConf, error) {
	rt := libcni.RuntimeConf{
		ContainerID: p.ID,
		NetNS:       p.NetNS,
		Args: [][2]string{
			{"IgnoreUnknown", "1"},
			{"K8S_POD_NAMESPACE", p.Namespace},
			{"K8S_POD_NAME", p.Name},
			{"K8S_POD_INFRA_CONTAINER_ID", p.ID},
			{"K8S_POD_UID", p.UID},
		},
		CapabilityArgs: map[string]any{annotationsCapability: p.Annotations},
	}
	if ports := hostPorts(p.PortMappings); ports != nil {
		rt.CapabilityArgs["portMappings"] = ports
	}
	if p.DNS != nil {
		rt.CapabilityArgs["dns"] = gocni.DNS{Servers: p.DNS.Servers, Searches: p.DNS.Searches, Options: p.DNS.Options}
	}
	if p.CgroupParent != "" {
		rt.CapabilityArgs["cgroupPath"] = p.CgroupParent
	}
	bandwidth, err := podBandwidth(p.Annotations)
	if bandwidth != nil {
		rt.CapabilityArgs["bandwidth"] = *bandwidth
	}
	for _, arg := range rt.Args {
		if strings.ContainsAny(arg[1], ";=\x00") { // separators of CNI_ARGS
			err = fmt.Errorf("%s %q has a semicolon, an equals sign or a NUL byte: %w", arg[0], arg[1], errdefs.ErrInvalidArgument)
		}
	}
	return rt, err
}

func hostPorts(mappings []*runtimeapi.PortMapping) (ports []gocni.PortMapping) {
	for _, m := range mappings {
		if m.HostPort <= 0 {
			continue
		}
		ports = append(ports, gocni.PortMapping{
			HostPort:      m.HostPort,
			ContainerPort: m.ContainerPort,
			Protocol:      strings.ToLower(m.Protocol.String()),
			HostIP:        m.HostIp,
		})
	}
	return ports
}

// podBandwidth returns the limits in the annotations, or nil if there are none.
func podBandwidth(annotations map[string]string) (*gocni.BandWidth, error) {
	ingress, err := parseBandwidth(annotations, ingressBandwidth)
	if err != nil {
		return nil, err
	}
	egress, err := parseBandwidth(annotations, egressBandwidth)
	if err != nil || (ingress == 0 && egress == 0) {
		return nil, err
	}
	b := &gocni.BandWidth{IngressRate: ingress, EgressRate: egress}
	if ingress != 0 {
		b.IngressBurst = math.MaxUint32
	}
	if egress != 0 {
		b.EgressBurst = math.MaxUint32
	}
	return b, nil
}

// parseBandwidth returns a limit in bits per second, or 0 if there is none. The range is that of
// Kubernetes.
func parseBandwidth(annotations map[string]string, key string) (uint64, error) {
	text, ok := annotations[key]
	if !ok {
		return 0, nil
	}
	quantity, err := resource.ParseQuantity(text)
	if err != nil {
		return 0, fmt.Errorf("annotation %s %q: %w: %w", key, text, err, errdefs.ErrInvalidArgument)
	}
	const lowest, highest = 1000, 1e15
	if v := quantity.Value(); v < lowest || v > highest {
		return 0, fmt.Errorf("annotation %s %q is not between 1k and 1P: %w", key, text, errdefs.ErrInvalidArgument)
	}
	return uint64(quantity.Value()), nil
}
