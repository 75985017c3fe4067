// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/vishvananda/netlink"
)

// sysctls are the sysctls that CNI plugins set on the host and do not restore.
var sysctls = [...]string{"/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding"}

// Network is the CNI configuration of a bench: the chain that kubeadm users run (bridge, portmap,
// bandwidth, tuning) on a bridge of its own. Its addresses are from RFC 2544's range for
// benchmarks, which is not routed on the Internet.
type Network struct {
	Bridge  string
	Subnet  string
	ConfDir string
	BinDir  string
	IPAM    string // host-local keeps one file per address here

	sysctls map[string]string
	rules   map[string][]string // iptables rules from before the bench, by command
}

const conflist = `{
  "cniVersion": "1.0.0",
  "name": %[1]q,
  "plugins": [
    {"type": "bridge", "bridge": %[1]q, "isGateway": true, "ipMasq": true, "hairpinMode": true,
     "ipam": {"type": "host-local", "dataDir": %[3]q, "ranges": [[{"subnet": %[2]q}]],
              "routes": [{"dst": "0.0.0.0/0"}]}},
    {"type": "portmap", "capabilities": {"portMappings": true}},
    {"type": "bandwidth", "capabilities": {"bandwidth": true}},
    {"type": "tuning"}
  ]
}
`

func newNetwork(root, plugins string) (*Network, error) {
	id := os.Getpid()
	n := &Network{
		Bridge:  fmt.Sprintf("lite%d", id),
		Subnet:  fmt.Sprintf("198.18.%d.0/22", id%64*4),
		ConfDir: filepath.Join(root, "cni", "net.d"),
		BinDir:  filepath.Join(root, "cni", "bin"),
		IPAM:    filepath.Join(root, "cni", "ipam"),
		sysctls: map[string]string{},
		rules:   map[string][]string{},
	}
	for _, dir := range []string{n.ConfDir, n.BinDir, n.IPAM} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
	}
	if err := n.linkPlugins(plugins); err != nil {
		return nil, err
	}
	for _, name := range sysctls {
		value, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		n.sysctls[name] = string(value)
	}
	for _, command := range iptables {
		rules, err := savedRules(command)
		if err != nil {
			return nil, err
		}
		n.rules[command] = rules
	}
	conf := fmt.Sprintf(conflist, n.Bridge, n.Subnet, n.IPAM)
	return n, os.WriteFile(n.conf(), []byte(conf), 0o644)
}

func (n *Network) conf() string { return filepath.Join(n.ConfDir, "10-bench.conflist") }

func (n *Network) linkPlugins(plugins string) error {
	entries, err := os.ReadDir(plugins)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if err := os.Symlink(filepath.Join(plugins, entry.Name()), filepath.Join(n.BinDir, entry.Name())); err != nil {
			return err
		}
	}
	return nil
}

// Hide hides the CNI configuration. restore makes it visible again.
func (n *Network) Hide() (restore func() error, err error) {
	hidden := n.conf() + ".hidden"
	if err := os.Rename(n.conf(), hidden); err != nil {
		return nil, err
	}
	return func() error { return os.Rename(hidden, n.conf()) }, nil
}

// Replace replaces a CNI plugin by a shell script. restore undoes that. The script can run the
// plugin as "$PLUGIN".
func (n *Network) Replace(plugin, script string) (restore func() error, err error) {
	file := filepath.Join(n.BinDir, plugin)
	target, err := os.Readlink(file)
	if err != nil {
		return nil, err
	}
	if err := os.Remove(file); err != nil {
		return nil, err
	}
	text := fmt.Sprintf("#!/bin/sh\nPLUGIN=%s\n%s\n", target, script)
	if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
		return nil, err
	}
	return func() error {
		if err := os.Remove(file); err != nil {
			return err
		}
		return os.Symlink(target, file)
	}, nil
}

// Remove deletes the bridge and restores the host settings that CNI plugins change and do not
// restore (IP forwarding and portmap's three chains). It also removes rules of pods that a failed
// test left.
func (n *Network) Remove() error {
	var errs []error
	if link, err := netlink.LinkByName(n.Bridge); err == nil {
		errs = append(errs, netlink.LinkDel(link))
	}
	for name, value := range n.sysctls {
		errs = append(errs, os.WriteFile(name, []byte(value), 0o644))
	}
	for command, before := range n.rules {
		errs = append(errs, n.removeRules(command, before))
	}
	return errors.Join(errs...)
}

// FreePort returns a port of 127.0.0.1 that was free a moment ago.
func FreePort() (int32, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	port := listener.Addr().(*net.TCPAddr).Port
	return int32(port), listener.Close()
}
