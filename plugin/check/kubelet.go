// SPDX-License-Identifier: Apache-2.0

package check

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/containerd-lite/containerd-lite/internal/regular"
)

// kubeletFile is where kubeadm puts the config of the kubelet.
const kubeletFile = "/var/lib/kubelet/config.yaml"

// kubeletConfig are the fields of KubeletConfiguration (kubelet.config.k8s.io/v1beta1) that must
// agree with ours.
type kubeletConfig struct {
	CgroupDriver             string `json:"cgroupDriver"`
	ContainerRuntimeEndpoint string `json:"containerRuntimeEndpoint"`
}

// kubelet compares the config of the kubelet, if there is one, with ours.
func kubelet(_ context.Context, n Node) []Finding {
	path, flags := n.kubeletFlags()
	data, err := regular.Read(n.path(path), maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return []Finding{ok("no config of a kubelet in %s", path)}
	}
	if err != nil {
		return []Finding{warning("see the kubelet's flag --config", "the config of the kubelet is not checked: %v", err)}
	}
	var c kubeletConfig
	if err := yaml.Unmarshal(data, &c); err != nil {
		return []Finding{failure("mend the line", "%s: %v: the kubelet does not start", path, err)}
	}
	if flags["container-runtime-endpoint"] != "" {
		c.ContainerRuntimeEndpoint = flags["container-runtime-endpoint"]
	}
	var problems []Finding
	if e := strings.TrimPrefix(strings.TrimPrefix(c.ContainerRuntimeEndpoint, "unix:"), "//"); e != "" && !n.sameSocket(e) {
		problems = append(problems, failure("set containerRuntimeEndpoint: unix://"+n.Endpoint+" in "+path+", and restart the kubelet",
			"the kubelet uses %s, but containerd-lite serves %s", e, n.Endpoint))
	}
	if systemd, known, _ := n.Config.Runtime.CgroupDriver(); known && c.CgroupDriver != "" && systemd != (c.CgroupDriver == "systemd") {
		problems = append(problems, warning(setDriver(n.Config.Runtime, c.CgroupDriver == "systemd"),
			"%s has cgroupDriver: %s, but the handlers use another one: kubelets before 1.31 do not see the limits of pods applied", path, c.CgroupDriver))
	}
	return orOK(problems, "%s agrees with config.toml", path)
}

// sameSocket compares paths below /var/run and /run as the same.
func (n Node) sameSocket(path string) bool {
	clean := func(p string) string {
		if rest, ok := strings.CutPrefix(filepath.Clean(p), "/var/run/"); ok {
			return "/run/" + rest
		}
		return filepath.Clean(p)
	}
	return clean(path) == clean(n.Endpoint)
}

// kubeletFlags returns the flags of the running kubelet, if there is one, and the path of its
// config.
func (n Node) kubeletFlags() (path string, flags map[string]string) {
	path, flags = kubeletFile, map[string]string{}
	for dir, name := range HostProcesses(n.Root) {
		if name != "kubelet" {
			continue
		}
		line, _ := regular.Read(filepath.Join(dir, "cmdline"), maxFile) // it may have ended
		args := strings.Split(string(line), "\x00")
		for i, arg := range args {
			key, value, joined := strings.Cut(strings.TrimLeft(arg, "-"), "=")
			if !joined && i+1 < len(args) {
				value = args[i+1]
			}
			if strings.HasPrefix(arg, "-") {
				flags[key] = value
			}
		}
		break
	}
	if flags["config"] != "" {
		path = flags["config"]
	}
	return path, flags
}
