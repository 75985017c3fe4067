// SPDX-License-Identifier: Apache-2.0

package network

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/containerd/errdefs"
	gocni "github.com/containerd/go-cni"
	"github.com/containernetworking/cni/libcni"
	"golang.org/x/sys/unix"
)

const (
	// Pod interfaces are named eth0, eth1 and so on, in the order of the configuration files. The
	// address of eth0 is the pod's.
	interfacePrefix  = "eth"
	defaultInterface = "eth0"
)

// confExtensions are the extensions of CNI configuration files.
var confExtensions = []string{".conf", ".conflist", ".json"}

// conf is a CNI configuration directory.
type conf struct {
	dir     string
	max     int // networks to load; 0 is all
	current atomic.Pointer[loadedConf]
}

// loadedConf is the immutable content of a configuration directory. A reload creates another one;
// calls in progress continue with theirs.
type loadedConf struct {
	networks    []cniNetwork
	fingerprint string  // of the directory, before it was read
	err         error   // why there are no networks
	health      *health // nil if no network supports STATUS
}

// cniNetwork is one network to attach a pod to.
type cniNetwork struct {
	ifName     string
	list       *libcni.NetworkConfigList
	attachment *libcni.NetworkAttachment // from the CNI cache; nil if there is none
}

// runtimeConf returns the arguments for the plugins of the network.
func (n cniNetwork) runtimeConf(rt libcni.RuntimeConf) *libcni.RuntimeConf {
	rt.IfName = n.ifName
	if n.attachment != nil {
		rt.Args = n.attachment.CniArgs
		rt.CapabilityArgs = n.attachment.CapabilityArgs
	}
	return &rt
}

func (n cniNetwork) info() *gocni.ConfNetwork {
	list := &gocni.NetworkConfList{Name: n.list.Name, CNIVersion: n.list.CNIVersion, Source: string(n.list.Bytes)}
	for _, p := range n.list.Plugins {
		list.Plugins = append(list.Plugins, &gocni.NetworkConf{Network: p.Network, Source: string(p.Bytes)})
	}
	return &gocni.ConfNetwork{Config: list, IFName: n.ifName}
}

// load reads the directory.
func (c *conf) load() {
	l := &loadedConf{fingerprint: fingerprint(c.dir)}
	lists, err := ReadConfDir(c.dir, c.max)
	l.err = err
	for i, list := range lists {
		l.networks = append(l.networks, cniNetwork{ifName: interfacePrefix + strconv.Itoa(i), list: list})
	}
	if l.err == nil {
		l.health = newHealth(l.networks)
	}
	c.current.Store(l)
}

// fingerprint returns a text that changes when a configuration file is added, removed or changed.
func fingerprint(dir string) string {
	files, err := libcni.ConfFiles(dir, confExtensions)
	if err != nil {
		return err.Error()
	}
	var all strings.Builder
	for _, file := range files {
		var st unix.Stat_t
		err := unix.Stat(file, &st)
		fmt.Fprintln(&all, file, err, st.Dev, st.Ino, st.Size, st.Mtim, st.Ctim)
	}
	return all.String()
}

// ReadConfDir reads the first files of a configuration directory in the order of their names; limit
// 0 means all. A file that cannot be used is an error, because to skip it would attach pods to
// another network than the intended one.
func ReadConfDir(dir string, limit int) ([]*libcni.NetworkConfigList, error) {
	files, err := libcni.ConfFiles(dir, confExtensions)
	if err != nil {
		return nil, fmt.Errorf("CNI config directory %s: %w", dir, err)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no CNI config in %s (install one, or set cni.conf_dir): %w", dir, errdefs.ErrFailedPrecondition)
	}
	slices.Sort(files)
	if limit > 0 && len(files) > limit {
		files = files[:limit]
	}
	var lists []*libcni.NetworkConfigList
	for _, file := range files {
		list, err := readConfFile(file)
		if err != nil {
			return nil, fmt.Errorf("CNI config %s: %w: %w", file, err, errdefs.ErrFailedPrecondition)
		}
		lists = append(lists, list)
	}
	return lists, nil
}

// readConfFile reads a configuration list, or a file with a single plugin, a format that CNI has
// deprecated and the built-in CRI still reads.
func readConfFile(file string) (*libcni.NetworkConfigList, error) {
	if filepath.Ext(file) != ".conflist" {
		one, err := libcni.ConfFromFile(file) //nolint:staticcheck // see above
		if err != nil {
			return nil, err
		}
		return libcni.ConfListFromConf(one) //nolint:staticcheck // see above
	}
	list, err := libcni.ConfListFromFile(file)
	if err != nil {
		return nil, err
	}
	if len(list.Plugins) == 0 {
		return nil, errors.New("it has no plugins")
	}
	return list, nil
}
