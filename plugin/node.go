// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	goruntime "runtime"
	"slices"

	gocni "github.com/containerd/go-cni"
	"github.com/containernetworking/cni/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/plugin/config"
	"github.com/containerd-lite/containerd-lite/plugin/cri"
	"github.com/containerd-lite/containerd-lite/plugin/network"
)

// node answers what the CRI asks of the runtime as a whole.
type node struct {
	network  *network.Network
	machine  machine
	config   config.Config
	dirs     dirs
	warnings func(context.Context) (map[string]string, error) // of containerd
}

var _ cri.Node = node{}

// NetworkStatus tells why pods of the default handler get no network, if so: where there is no
// usable configuration, in the words that the built-in CRI made known.
func (n node) NetworkStatus() error {
	if _, err := n.network.Info(n.config.Runtime.Containerd.DefaultRuntimeName); err != nil {
		return fmt.Errorf("cni plugin not initialized: %w", err)
	}
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

// shownConfig is the configuration as `crictl info` shows it: the built-in CRI's, and beside it the
// tables that it does not show. Credentials of registries are in neither (see [config.Registry]).
type shownConfig struct {
	config.Runtime
	dirs
	Images config.Images `json:"images"`
	Server config.Server `json:"server"`
}

// dirs are where containerd is.
type dirs struct {
	ContainerdRootDir  string `json:"containerdRootDir"`
	ContainerdEndpoint string `json:"containerdEndpoint"`
	RootDir            string `json:"rootDir"`
	StateDir           string `json:"stateDir"`
}

func newDirs(deps Deps) dirs {
	return dirs{
		ContainerdRootDir:  filepath.Dir(deps.RootDir),
		ContainerdEndpoint: deps.Endpoint,
		RootDir:            deps.RootDir,
		StateDir:           deps.StateDir,
	}
}

// Info is the configuration, the CNI configuration and what came of loading it, for
// each handler that has its own, and the number of panics that were caught: each is a
// bug to report, and its stack is in the log.
func (n node) Info(context.Context) (map[string]string, error) {
	info := map[string]string{"lastCNILoadStatus": n.loadStatus("")}
	info["lastCNILoadStatus.default"] = info["lastCNILoadStatus"]
	for name, h := range n.config.Runtime.Containerd.Runtimes {
		if h.CNIConfDir != "" {
			info["lastCNILoadStatus."+name] = n.loadStatus(name)
		}
	}
	cni, _ := n.network.Info("") // the error is the load status
	if !n.config.Runtime.CNI.UseInternalLoopback {
		cni.Networks = slices.Insert(cni.Networks, 0, loopback())
	}
	shown := shownConfig{Runtime: n.config.Runtime, dirs: n.dirs, Images: n.config.Images, Server: n.config.Server}
	parts := map[string]any{"config": shown, "cniconfig": cni, "golang": goruntime.Version(), "panics": guard.Count()}
	for key, value := range parts {
		text, err := json.Marshal(value)
		if err != nil {
			return nil, err
		}
		info[key] = string(text)
	}
	return info, nil
}

// loopback is the first network of the built-in CRI: who reads `crictl info` counts from the
// second. Here lo is up without a plugin.
func loopback() *gocni.ConfNetwork {
	return &gocni.ConfNetwork{IFName: "lo", Config: &gocni.NetworkConfList{
		Name:       "cni-loopback",
		CNIVersion: "0.3.1",
		Plugins:    []*gocni.NetworkConf{{Network: &types.PluginConf{Type: "loopback"}, Source: `{"type":"loopback"}`}},
		Source:     `{"cniVersion":"0.3.1","name":"cni-loopback","plugins":[{"type":"loopback"}]}`,
	}}
}

func (n node) loadStatus(handler string) string {
	if _, err := n.network.Info(handler); err != nil {
		return err.Error()
	}
	return "OK"
}
