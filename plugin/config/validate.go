// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/platforms"
	"github.com/pelletier/go-toml/v2"

	"github.com/containerd-lite/containerd-lite/internal/shimoption"
)

// Host has the facts about the node that a config is checked against.
type Host struct {
	// CgroupV2 reports whether the unified cgroup hierarchy is mounted.
	CgroupV2 bool
}

// checker collects the problems of one table.
type checker struct {
	table    string
	problems []error
}

func (c *checker) add(what, hint string, key ...string) {
	c.problems = append(c.problems, Problem{Table: c.table, Key: slices.Clone(key), What: what, Hint: hint})
}

func (c *checker) duration(d Duration, key ...string) {
	if what := d.check(); what != "" {
		c.add(what, `write it like "10s" or "2h30m"`, key...)
	}
}

func (c *checker) atLeast(least, n int, key ...string) {
	if n < least {
		c.add(fmt.Sprintf("%d is too small", n), fmt.Sprintf("the minimum is %d", least), key...)
	}
}

func (c *checker) oneOf(value string, allowed []string, key ...string) {
	if !slices.Contains(allowed, value) {
		c.add(fmt.Sprintf("%q is not known", value), "one of: "+strings.Join(quoted(allowed), ", "), key...)
	}
}

// Validate returns all problems of the table, as joined [Problem] values.
func (i Images) Validate() error {
	c := &checker{table: ImagesTable}
	if i.Snapshotter == "" {
		c.add("is empty", `name a snapshotter, such as "overlayfs"`, "snapshotter")
	}
	c.duration(i.ImagePullProgressTimeout, "image_pull_progress_timeout")
	c.atLeast(0, i.MaxConcurrentDownloads, "max_concurrent_downloads")
	c.atLeast(0, i.ConcurrentLayerFetchBuffer, "concurrent_layer_fetch_buffer")
	c.atLeast(1, i.StatsCollectPeriod, "stats_collect_period")
	c.oneOf(i.ImageDecryption.KeyModel, []string{"", "node"}, "image_decryption", "key_model")
	for _, name := range sortedKeys(i.RuntimePlatforms) {
		platform := i.RuntimePlatforms[name].Platform
		if platform == "" {
			continue
		}
		if _, err := platforms.Parse(platform); err != nil {
			c.add(err.Error(), `write it like "linux/arm64/v8"`, "runtime_platforms", name, "platform")
		}
	}
	if i.Registry.ConfigPath != "" && len(i.Registry.Mirrors) > 0 {
		c.add("is set together with config_path", "move the mirrors to <config_path>/<host>/hosts.toml", "registry", "mirrors")
	}
	return errors.Join(c.problems...)
}

// Validate returns all problems of the table, as joined [Problem] values. Call it before Complete,
// so that a problem is reported once.
func (r Runtime) Validate(host Host) error {
	c := &checker{table: RuntimeTable}
	c.defaultRuntimeName(r)
	for _, name := range r.HandlerNames() {
		c.handler(name, r.Containerd.Runtimes[name], host)
	}
	c.oneOf(r.CNI.IPPref, []string{"", "ipv4", "ipv6", "cni"}, "cni", "ip_pref")
	c.oneOf(r.Lite.MissingHostPath, []string{MissingHostPathCreate, MissingHostPathError}, "lite", "missing_host_path")
	c.atLeast(0, r.CNI.MaxConfNum, "cni", "max_conf_num")
	if r.CNI.ConfDir == "" {
		c.add("is empty", `name the directory of the network configurations, such as "/etc/cni/net.d"`, "cni", "conf_dir")
	}
	if len(r.CNI.BinDirs) == 0 {
		c.add("is empty", `name the directories of the CNI plugins, such as ["/opt/cni/bin"]`, "cni", "bin_dirs")
	}
	c.atLeast(0, r.SelinuxCategoryRange, "selinux_category_range")
	c.seccomp(r.UnsetSeccompProfile)
	c.duration(r.DrainExecSyncIOTimeout, "drain_exec_sync_io_timeout")
	c.duration(r.StatsCollectPeriod, "stats_collect_period")
	c.duration(r.StatsRetentionPeriod, "stats_retention_period")
	return errors.Join(c.problems...)
}

func (c *checker) defaultRuntimeName(r Runtime) {
	name, names := r.Containerd.DefaultRuntimeName, r.HandlerNames()
	if slices.Contains(names, name) {
		return
	}
	what := fmt.Sprintf("%q is not in containerd.runtimes", name)
	if name == "" {
		what = "is empty"
	}
	hint := "name one of: " + strings.Join(names, ", ")
	if name != "" {
		hint = fmt.Sprintf("add [%s], or %s", KeyPath(RuntimeTable, "containerd", "runtimes", name), hint)
	}
	c.add(what, hint, "containerd", "default_runtime_name")
}

func (c *checker) handler(name string, h Handler, host Host) {
	key := func(last ...string) []string {
		return append([]string{"containerd", "runtimes", name}, last...)
	}
	if h.Type == "" {
		c.add("is empty", "name a runtime type, such as "+LiteRuntimeType+" or "+RuncRuntimeType, key("runtime_type")...)
	}
	if h.Path != "" && !filepath.IsAbs(h.Path) {
		c.add(fmt.Sprintf("%q is not an absolute path", h.Path), "write the absolute path of the shim binary", key("runtime_path")...)
	}
	if h.PrivilegedWithoutHostDevicesAllDevicesAllowed && !h.PrivilegedWithoutHostDevices {
		c.add("is set without privileged_without_host_devices", "set both, or neither",
			key("privileged_without_host_devices_all_devices_allowed")...)
	}
	if h.CgroupWritable && !host.CgroupV2 {
		c.add("needs cgroup v2, but this node has cgroup v1", "remove it, or boot with systemd.unified_cgroup_hierarchy=1",
			key("cgroup_writable")...)
	}
	c.atLeast(0, h.CNIMaxConfNum, key("cni_max_conf_num")...)
	c.oneOf(h.IOType, []string{"", ioFIFO, ioStreaming}, key("io_type")...)
	c.patterns(h.PodAnnotations, key("pod_annotations")...)
	c.patterns(h.ContainerAnnotations, key("container_annotations")...)
	c.options(h, key("options")...)
}

func (c *checker) options(h Handler, key ...string) {
	_, err := h.RuntimeOptions()
	var (
		unknown unknownOptions
		bad     *shimoption.Error
		at      *toml.DecodeError
	)
	switch {
	case err == nil:
		return
	case errors.As(err, &unknown):
		hint := "remove it; known: " + strings.Join(sortedKeys(defaultHandler(h.Type).Options), ", ")
		for _, name := range unknown {
			c.add(fmt.Sprintf("%s has no such option", h.Type), hint, append(key, name)...)
		}
		return
	case errors.As(err, &bad):
		c.add(bad.What.Error(), bad.Hint, append(key, bad.Option)...)
		return
	case errors.As(err, &at):
		key = append(key, at.Key()...)
	}
	c.add(err.Error(), "`containerd-lite config default` shows the options of runc's shims", key...)
}

func (c *checker) patterns(list []string, key ...string) {
	for _, pattern := range list {
		if _, err := path.Match(pattern, ""); err != nil {
			c.add(fmt.Sprintf("%q is not a pattern", pattern), `write it like "example.com/*"`, key...)
		}
	}
}

func (c *checker) seccomp(profile string) {
	switch profile {
	case "", "unconfined", "runtime/default", "docker/default":
		return
	}
	if file, ok := strings.CutPrefix(profile, "localhost/"); ok && filepath.IsAbs(file) {
		return
	}
	c.add(fmt.Sprintf("%q is not a profile", profile), `write "unconfined", "runtime/default" or "localhost//path/to/profile.json"`,
		"unset_seccomp_profile")
}

// Validate returns all problems of the table, as joined [Problem] values.
func (s Server) Validate() error {
	c := &checker{table: ServerTable}
	if _, err := strconv.ParseUint(s.StreamServerPort, 10, 16); err != nil {
		c.add(fmt.Sprintf("%q is not a port", s.StreamServerPort), `write a number up to 65535 as a string, or "0" for any free port`,
			"stream_server_port")
	}
	c.duration(s.StreamIdleTimeout, "stream_idle_timeout")
	pair := s.X509KeyPairStreaming
	if (pair.TLSCertFile == "") != (pair.TLSKeyFile == "") {
		c.add("has only one of tls_cert_file and tls_key_file", "set both, or neither for a self-signed certificate",
			"x509_key_pair_streaming")
	}
	if pair != (X509KeyPair{}) && !s.EnableTLSStreaming {
		c.add("is set while enable_tls_streaming is false", "set enable_tls_streaming = true, or remove the key pair",
			"x509_key_pair_streaming")
	}
	return errors.Join(c.problems...)
}
