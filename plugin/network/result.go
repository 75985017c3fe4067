// SPDX-License-Identifier: Apache-2.0

package network

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/containerd/errdefs"
	gocni "github.com/containerd/go-cni"
	types100 "github.com/containernetworking/cni/pkg/types/100"
)

// Result has the addresses and interfaces of a pod. It is saved as JSON.
type Result struct {
	IP            string   `json:"ip"`
	AdditionalIPs []string `json:"additionalIPs,omitempty"`
	// CNI holds the interfaces, routes and DNS of all networks, in the format of "crictl inspectp".
	CNI *gocni.Result `json:"cniResult,omitempty"`
}

const (
	// maxAnswerEntries bounds each list in the answer of a CNI plugin. The lists are saved in the
	// pod's record.
	maxAnswerEntries = 1000
	// maxVersion bounds the length of a version, which libcni puts into errors.
	maxVersion = 32 // bytes
)

// cniAnswer is the part of a CNI plugin's answer to ADD that checkAnswer checks. The format is the
// same since CNI 0.3.0; older formats have no fields that can be null.
type cniAnswer struct {
	CNIVersion string `json:"cniVersion"`

	Interfaces []*struct{} `json:"interfaces"`
	Routes     []*struct{} `json:"routes"`
	IPs        []*struct {
		Address string `json:"address"`
	} `json:"ips"`
	DNS struct {
		Nameservers []*string `json:"nameservers"`
		Search      []*string `json:"search"`
		Options     []*string `json:"options"`
	} `json:"dns"`
}

// checkAnswer refuses an answer to ADD that is too long, or in which libcni or the next plugin
// would dereference a null. libcni checks the rest.
func checkAnswer(output []byte) error {
	var a *cniAnswer
	if err := json.Unmarshal(output, &a); err != nil {
		return fmt.Errorf("%w: %w", err, errdefs.ErrFailedPrecondition)
	}
	if a == nil {
		return fmt.Errorf("it is null: %w", errdefs.ErrFailedPrecondition)
	}
	if len(a.CNIVersion) > maxVersion {
		return fmt.Errorf("cniVersion has %d bytes: %w", len(a.CNIVersion), errdefs.ErrFailedPrecondition)
	}
	for i, ip := range a.IPs {
		if ip != nil && ip.Address == "" {
			return fmt.Errorf("ips[%d] has no address: %w", i, errdefs.ErrFailedPrecondition)
		}
	}
	return errors.Join(
		checkAnswerList("interfaces", a.Interfaces),
		checkAnswerList("ips", a.IPs),
		checkAnswerList("routes", a.Routes),
		checkAnswerList("dns.nameservers", a.DNS.Nameservers),
		checkAnswerList("dns.search", a.DNS.Search),
		checkAnswerList("dns.options", a.DNS.Options),
	)
}

func checkAnswerList[T any](name string, list []*T) error {
	if len(list) > maxAnswerEntries {
		return fmt.Errorf("%s has %d entries, more than %d: %w", name, len(list), maxAnswerEntries, errdefs.ErrResourceExhausted)
	}
	if i := slices.Index(list, nil); i >= 0 {
		return fmt.Errorf("%s[%d] is null: %w", name, i, errdefs.ErrFailedPrecondition)
	}
	return nil
}

// newResult merges the results of all networks. The first network must have assigned an address to
// the pod's interface.
func newResult(results []*types100.Result, ipPref string) (Result, error) {
	all := &gocni.Result{Interfaces: map[string]*gocni.Config{defaultInterface: {}}}
	for _, r := range results {
		for _, i := range r.Interfaces {
			all.Interfaces[i.Name] = &gocni.Config{Mac: i.Mac, Sandbox: i.Sandbox, SocketPath: i.SocketPath, PciID: i.PciID}
		}
		for _, ip := range r.IPs {
			name, err := interfaceOf(ip, r.Interfaces)
			if err != nil {
				return Result{}, err
			}
			iface := all.Interfaces[name]
			iface.IPConfigs = append(iface.IPConfigs, &gocni.IPConfig{IP: ip.Address.IP, Gateway: ip.Gateway})
		}
		all.DNS = append(all.DNS, r.DNS)
		all.Routes = append(all.Routes, r.Routes...)
	}
	var ips []net.IP
	for _, c := range all.Interfaces[defaultInterface].IPConfigs {
		ips = append(ips, c.IP)
	}
	if len(ips) == 0 {
		return Result{}, fmt.Errorf("CNI plugins assigned no address to interface %s (check the IPAM plugin): %w",
			defaultInterface, errdefs.ErrFailedPrecondition)
	}
	ordered := preferIP(ips, ipPref)
	return Result{IP: ordered[0], AdditionalIPs: ordered[1:], CNI: all}, nil
}

// interfaceOf returns the name of the interface that has the address. If the plugin omits it, it is
// the pod's interface.
func interfaceOf(ip *types100.IPConfig, interfaces []*types100.Interface) (string, error) {
	if ip.Interface == nil {
		return defaultInterface, nil
	}
	if *ip.Interface < 0 || *ip.Interface >= len(interfaces) {
		return "", fmt.Errorf("CNI result has the address %s on interface %d of %d: %w",
			ip.Address.IP, *ip.Interface, len(interfaces), errdefs.ErrFailedPrecondition)
	}
	return interfaces[*ip.Interface].Name, nil
}

// preferIP moves the first address of the preferred family to the front.
func preferIP(ips []net.IP, pref string) (ordered []string) {
	first := slices.IndexFunc(ips, func(ip net.IP) bool {
		isV6 := ip.To4() == nil
		return pref == "cni" || isV6 == (pref == "ipv6")
	})
	if first > 0 {
		preferred := ips[first]
		ips = slices.Insert(slices.Delete(ips, first, first+1), 0, preferred)
	}
	for _, ip := range ips {
		ordered = append(ordered, ip.String())
	}
	return ordered
}
