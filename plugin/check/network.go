// SPDX-License-Identifier: Apache-2.0

package check

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/containernetworking/cni/libcni"

	"github.com/containerd-lite/containerd-lite/plugin/network"
)

// networks checks the CNI configuration of each directory, the plugins that it names, and the
// addresses that are left.
func networks(_ context.Context, n Node) []Finding {
	settings := n.Config.Runtime
	all := n.confDir(settings.CNI.ConfDir, settings.CNI.MaxConfNum)
	for _, name := range settings.HandlerNames() {
		if h := settings.Containerd.Runtimes[name]; h.CNIConfDir != "" {
			all = append(all, n.confDir(h.CNIConfDir, h.CNIMaxConfNum)...)
		}
	}
	return all
}

func (n Node) confDir(dir string, limit int) []Finding {
	lists, err := network.ReadConfDir(n.path(dir), limit)
	if err != nil {
		return []Finding{failure("install the network of the cluster, such as kubectl apply -f its manifest, or mend the file; it is loaded within a second",
			"pods fail, except those on the host network: %v", err)}
	}
	var all []Finding
	for _, list := range lists {
		problems := n.pluginsOf(list)
		for _, p := range list.Plugins {
			problems = append(problems, n.addressesOf(list, p.Bytes)...)
		}
		all = append(all, orOK(problems, "network %s in %s", list.Name, dir)...)
	}
	return all
}

// pluginsOf checks that the programs of the plugins of a network are installed.
func (n Node) pluginsOf(list *libcni.NetworkConfigList) []Finding {
	var problems []Finding
	for _, p := range list.Plugins {
		for _, name := range []string{p.Network.Type, p.Network.IPAM.Type} {
			if name != "" {
				problems = append(problems, n.cniPlugin(list.Name, name)...)
			}
		}
	}
	return problems
}

// cniPlugin checks the program of a plugin.
func (n Node) cniPlugin(list, name string) []Finding {
	dirs := n.Config.Runtime.CNI.BinDirs
	for _, dir := range dirs {
		path := filepath.Join(n.path(dir), name)
		info, err := os.Stat(path)
		switch {
		case err != nil || !info.Mode().IsRegular():
			continue
		case info.Mode()&0o111 == 0:
			return []Finding{failure("chmod +x "+path, "network %s: the CNI plugin %s is not executable", list, name)}
		}
		return nil
	}
	return []Finding{failure("install it (apt install containernetworking-plugins), or set cni.bin_dirs in config.toml",
		"network %s: the CNI plugin %s is not in %s", list, name, strings.Join(dirs, ", "))}
}

// hostLocal is the part of a plugin's configuration from which the plugin host-local takes its
// addresses.
type hostLocal struct {
	IPAM struct {
		Type    string           `json:"type"`
		DataDir string           `json:"dataDir"`
		Ranges  [][]addressRange `json:"ranges"`
		addressRange
	} `json:"ipam"`
}

type addressRange struct {
	Subnet     string `json:"subnet"`
	RangeStart string `json:"rangeStart"`
	RangeEnd   string `json:"rangeEnd"`
	Gateway    string `json:"gateway"`
}

// addressesOf checks how many addresses of host-local are left in a network.
func (n Node) addressesOf(list *libcni.NetworkConfigList, plugin []byte) []Finding {
	var conf hostLocal
	if json.Unmarshal(plugin, &conf) != nil || conf.IPAM.Type != "host-local" {
		return nil
	}
	dir := conf.IPAM.DataDir
	if dir == "" {
		dir = network.HostLocalDir
	}
	dir = filepath.Join(dir, list.Name)
	sets := conf.IPAM.Ranges
	if conf.IPAM.Subnet != "" {
		sets = append(sets, []addressRange{conf.IPAM.addressRange})
	}
	var problems []Finding
	for _, set := range sets {
		used, size, name := n.usage(dir, set)
		const do = "remove pods, or use a larger subnet; files in %s of pods that are gone can be deleted"
		switch {
		case size == 0: // not a subnet, or more than can be counted
		case used >= size:
			problems = append(problems, failure(strings.Replace(do, "%s", dir, 1), "network %s: all %d addresses of %s are taken: new pods fail", list.Name, size, name))
		case used*10 >= size*9:
			problems = append(problems, warning(strings.Replace(do, "%s", dir, 1), "network %s: %d of %d addresses of %s are taken", list.Name, used, size, name))
		}
	}
	return problems
}

// usage returns how many addresses of a set of ranges are taken and how many there are; 0 if there
// are too many to run out.
func (n Node) usage(dir string, set []addressRange) (used, size int, name string) {
	var names []string
	entries, _ := os.ReadDir(n.path(dir)) // without a directory, none is taken
	for _, r := range set {
		first, last, ok := r.bounds()
		if !ok {
			return 0, 0, ""
		}
		names = append(names, r.Subnet)
		size += r.size(first, last)
		for _, entry := range entries {
			if a, err := netip.ParseAddr(entry.Name()); err == nil && a.BitLen() == first.BitLen() && !a.Less(first) && !last.Less(a) {
				used++
			}
		}
	}
	return used, size, strings.Join(names, ", ")
}

// size returns the number of addresses that host-local can give: those from first to last without
// the gateway, which is the first address of the subnet by default.
func (r addressRange) size(first, last netip.Addr) int {
	gateway, err := netip.ParseAddr(r.Gateway)
	if subnet, parseErr := netip.ParsePrefix(r.Subnet); err != nil && parseErr == nil {
		gateway = subnet.Masked().Addr().Next()
	}
	size := distance(first, last) + 1
	if !gateway.Less(first) && !last.Less(gateway) {
		size--
	}
	return size
}

// bounds returns the first and the last address of a range as host-local uses them: without the
// address of the network and the broadcast address.
func (r addressRange) bounds() (first, last netip.Addr, ok bool) {
	subnet, err := netip.ParsePrefix(r.Subnet)
	if err != nil || subnet.Addr().BitLen()-subnet.Bits() > 16 || subnet.Addr().BitLen()-subnet.Bits() < 2 {
		return first, last, false
	}
	subnet = subnet.Masked()
	last = lastOf(subnet)
	if subnet.Addr().Is4() {
		last = last.Prev()
	}
	first = subnet.Addr().Next()
	if a, err := netip.ParseAddr(r.RangeStart); err == nil {
		first = a
	}
	if a, err := netip.ParseAddr(r.RangeEnd); err == nil {
		last = a
	}
	return first, last, subnet.Contains(first) && subnet.Contains(last) && !last.Less(first)
}

func lastOf(subnet netip.Prefix) netip.Addr {
	bytes := subnet.Addr().AsSlice()
	for bit := subnet.Bits(); bit < len(bytes)*8; bit++ {
		bytes[bit/8] |= 0x80 >> (bit % 8)
	}
	last, _ := netip.AddrFromSlice(bytes) // of the same length as the subnet's
	return last
}

// distance returns last - first. Both are in one subnet, and [addressRange.bounds] has limited its
// size, so the last 32 bits have the difference.
func distance(first, last netip.Addr) int {
	a, b := first.As16(), last.As16()
	return int(binary.BigEndian.Uint32(b[12:]) - binary.BigEndian.Uint32(a[12:]))
}
