// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestSysctlOrder(t *testing.T) {
	list, err := parseSysctls(map[string]string{
		"net.ipv4.conf.a0.forwarding":          "0",
		"net.ipv4.conf.all.forwarding":         "1",
		"net.ipv4.conf.default.forwarding":     "0",
		"net.ipv4.ip_forward":                  "1",
		"net.ipv6.neigh.a0/1.retrans_time":     "100",
		"net/ipv6/neigh/default/mcast_solicit": "1",
	}, unix.CLONE_NEWNET)
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, s := range list {
		paths = append(paths, s.path)
	}
	want := []string{
		"net/ipv4/ip_forward",
		"net/ipv4/conf/all/forwarding",
		"net/ipv4/conf/default/forwarding",
		"net/ipv6/neigh/default/mcast_solicit",
		"net/ipv4/conf/a0/forwarding",
		"net/ipv6/neigh/a0.1/retrans_time",
	}
	if diff := cmp.Diff(want, paths); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}

// attachInterface changes a network namespace like a CNI plugin: it creates eth0, enables IPv6 on
// it and adds an address.
func attachInterface(t *testing.T, netns string) {
	t.Helper()
	err := InNetNS(netns, func() error {
		link := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "peer"}
		if err := netlink.LinkAdd(link); err != nil {
			return err
		}
		err := os.WriteFile("/proc/sys/net/ipv6/conf/eth0/disable_ipv6", []byte("0"), 0)
		address, parseErr := netlink.ParseAddr("fd00::5/64")
		return errors.Join(err, parseErr, netlink.AddrAdd(link, address), netlink.LinkSetUp(link))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// addresses6 returns the IPv6 addresses of eth0.
func addresses6(t *testing.T, netns string) (found []string) {
	t.Helper()
	err := InNetNS(netns, func() error {
		link, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		addresses, err := netlink.AddrList(link, netlink.FAMILY_V6)
		for _, a := range addresses {
			found = append(found, a.IPNet.String())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestSysctlsOfInterfaces(t *testing.T) {
	if _, err := os.Stat("/proc/sys/net/ipv6"); err != nil {
		t.Skip("this kernel has no IPv6")
	}
	p, _ := newTestPinner(t)
	o := PinOptions{ID: "web", Net: true, IPC: true, Sysctls: map[string]string{
		"net.ipv4.conf.default.arp_ignore":  "2",
		"net.ipv4.conf.eth0.arp_announce":   "1",
		"net.ipv6.conf.all.disable_ipv6":    "1",
		"net.ipv6.conf.eth0.hop_limit":      "77",
		"net.ipv6.neigh.eth0.mcast_solicit": "5",
		"kernel.shmmni":                     "1234",
	}}
	ns, err := p.Pin(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Unpin(context.Background(), "web", Namespaces{}) })
	read := func(name, want string) {
		t.Helper()
		if got := inNamespace(t, ns.Net, unix.CLONE_NEWNET, readSysctl(name)); got != want {
			t.Errorf("%s = %s, want %s", name, got, want)
		}
	}
	read("net/ipv6/conf/all/disable_ipv6", "1")
	attachInterface(t, ns.Net)
	if got := addresses6(t, ns.Net); len(got) == 0 {
		t.Fatal("eth0 has no IPv6 address before Tune")
	}
	read("net/ipv4/conf/eth0/arp_ignore", "2") // inherited from conf.default
	if err := p.Tune(o); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"net/ipv4/conf/eth0/arp_announce":   "1",
		"net/ipv6/conf/eth0/hop_limit":      "77",
		"net/ipv6/neigh/eth0/mcast_solicit": "5",
		"net/ipv6/conf/eth0/disable_ipv6":   "1",
	} {
		read(name, want)
	}
	if got := addresses6(t, ns.Net); len(got) != 0 {
		t.Errorf("eth0 still has %v", got)
	}
}

func TestTuneRefuses(t *testing.T) {
	p, _ := newTestPinner(t)
	for name, value := range map[string]string{
		"net.ipv4.no_such":             "1",
		"net.ipv4.conf.eth7.rp_filter": "1",
		"net.ipv4.conf.lo.no_such":     "1",
	} {
		o := PinOptions{ID: "web", Net: true, Sysctls: map[string]string{name: value}}
		if _, err := p.Pin(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		if err := p.Tune(o); !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), name) {
			t.Errorf("Tune: %v, want InvalidArgument that names %s", err, name)
		}
		if err := p.Unpin(t.Context(), "web", Namespaces{}); err != nil {
			t.Fatal(err)
		}
	}
}
