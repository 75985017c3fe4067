// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"context"
	"encoding/json"
	"os"
	goruntime "runtime"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/config"
	"github.com/containerd-lite/containerd-lite/plugin/cri"
	"github.com/containerd-lite/containerd-lite/plugin/network"
)

// node answers what the CRI asks of the runtime as a whole.
type node struct {
	network  *network.Network
	machine  machine
	config   config.Config
	warnings func(context.Context) (map[string]string, error) // of containerd
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

// Deprecations are containerd's, but for those in ignore_deprecation_warnings.
func (n node) Deprecations(ctx context.Context) (map[string]string, error) {
	messages, err := n.warnings(ctx)
	for _, id := range n.config.Runtime.IgnoreDeprecationWarnings {
		delete(messages, id)
	}
	return messages, err
}

// Info is the configuration, the CNI configuration and what came of loading it, for
// each handler that has its own. Registry credentials stay out of it.
func (n node) Info(context.Context) (map[string]string, error) {
	shown := n.config
	shown.Images.Registry.Auths, shown.Images.Registry.Configs, shown.Images.Registry.Headers = nil, nil, nil
	info := map[string]string{"lastCNILoadStatus": n.loadStatus("")}
	info["lastCNILoadStatus.default"] = info["lastCNILoadStatus"]
	for name, h := range n.config.Runtime.Containerd.Runtimes {
		if h.CNIConfDir != "" {
			info["lastCNILoadStatus."+name] = n.loadStatus(name)
		}
	}
	cni, _ := n.network.Info("") // the error is the load status
	for key, value := range map[string]any{"config": shown, "cniconfig": cni, "golang": goruntime.Version()} {
		text, err := json.Marshal(value)
		if err != nil {
			return nil, err
		}
		info[key] = string(text)
	}
	return info, nil
}

func (n node) loadStatus(handler string) string {
	if _, err := n.network.Info(handler); err != nil {
		return err.Error()
	}
	return "OK"
}
