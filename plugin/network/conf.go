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
	// Pod interfaces are named eth0, eth1 and so on, after the order of the
	// configuration files; the address of eth0 is the pod's.
	interfacePrefix  = "eth"
	defaultInterface = "eth0"
)

// confExtensions are those of the files in a CNI configuration directory.
var confExtensions = []string{".conf", ".conflist", ".json"}

// conf is one CNI configuration directory.
type conf struct {
	dir     string
	max     int // networks to load; 0 is all
	current atomic.Pointer[loaded]
}

// loaded is what a configuration directory held when it was read. It never
// changes: a reload makes a new one, and calls under way keep theirs.
type loaded struct {
	networks []network
	seen     string  // what look returned before it was read
	err      error   // why there are no networks
	health   *health // nil if no plugin can be asked
}

// network is one network to attach a pod to.
type network struct {
	ifName string
	list   *libcni.NetworkConfigList
	note   *libcni.NetworkAttachment // how it was attached, if that is known
}

// on returns the arguments for the network's plugins.
func (n network) on(rt libcni.RuntimeConf) *libcni.RuntimeConf {
	rt.IfName = n.ifName
	if n.note != nil {
		rt.Args = n.note.CniArgs
		rt.CapabilityArgs = n.note.CapabilityArgs
	}
	return &rt
}

func (n network) info() *gocni.ConfNetwork {
	list := &gocni.NetworkConfList{Name: n.list.Name, CNIVersion: n.list.CNIVersion, Source: string(n.list.Bytes)}
	for _, p := range n.list.Plugins {
		list.Plugins = append(list.Plugins, &gocni.NetworkConf{Network: p.Network, Source: string(p.Bytes)})
	}
	return &gocni.ConfNetwork{Config: list, IFName: n.ifName}
}

// load reads the directory.
func (c *conf) load() {
	l := &loaded{seen: look(c.dir)}
	l.networks, l.err = readConfDir(c.dir, c.max)
	if l.err == nil {
		l.health = newHealth(l.networks)
	}
	c.current.Store(l)
}

// look describes the configuration files of a directory: another file, or another content, is
// another description.
func look(dir string) string {
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

// readConfDir reads the first files of the directory, in the order of their
// names. One that cannot be used is an error: the next would be another
// network than the one wanted.
func readConfDir(dir string, limit int) ([]network, error) {
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
	var networks []network
	for i, file := range files {
		list, err := readConfFile(file)
		if err != nil {
			return nil, fmt.Errorf("CNI config %s: %w: %w", file, err, errdefs.ErrFailedPrecondition)
		}
		networks = append(networks, network{ifName: interfacePrefix + strconv.Itoa(i), list: list})
	}
	return networks, nil
}

// readConfFile also reads files with a single plugin, which CNI calls out of
// date and the built-in CRI still takes.
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
		return nil, errors.New("no plugins in it")
	}
	return list, nil
}
