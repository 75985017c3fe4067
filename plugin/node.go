// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"context"
	"encoding/json"
	"os"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/config"
	"github.com/containerd-lite/containerd-lite/plugin/cri"
	"github.com/containerd-lite/containerd-lite/plugin/network"
)

// node answers what the CRI asks of the runtime as a whole.
type node struct {
	network *network.Network
	machine machine
	config  config.Config
}

var _ cri.Node = node{}

// NetworkStatus tells why pods of the default handler get no network, if so.
func (n node) NetworkStatus() error {
	return n.network.Status(n.config.Runtime.Containerd.DefaultRuntimeName)
}

// Handlers are the runtime handlers with their features.
func (n node) Handlers() []*runtimeapi.RuntimeHandler { return n.machine.handlers(n.config.Runtime) }

// SystemdCgroup tells the cgroup driver of the handlers (KEP-4033). Where no shim
// has a say, systemd is the owner of the cgroups if it runs, as sd_booted(3) finds out.
func (n node) SystemdCgroup() bool {
	if systemd, known, _ := n.config.Runtime.CgroupDriver(); known {
		return systemd
	}
	_, err := os.Lstat("/run/systemd/system")
	return err == nil
}

// UsePodCIDRs makes a CNI configuration from cni.conf_template.
func (n node) UsePodCIDRs(ctx context.Context, cidrs string) error {
	return n.network.UsePodCIDRs(ctx, cidrs)
}

// Info is the configuration, the CNI configuration and what came of loading it.
// Registry credentials stay out of it.
func (n node) Info(context.Context) (map[string]string, error) {
	shown := n.config
	shown.Images.Registry.Auths, shown.Images.Registry.Configs, shown.Images.Registry.Headers = nil, nil, nil
	settings, err := json.Marshal(shown)
	if err != nil {
		return nil, err
	}
	info := map[string]string{"config": string(settings), "lastCNILoadStatus": "OK"}
	loaded, loadErr := n.network.Info("")
	if loadErr != nil {
		info["lastCNILoadStatus"] = loadErr.Error()
	}
	cni, err := json.Marshal(loaded)
	info["cniconfig"] = string(cni)
	return info, err
}
