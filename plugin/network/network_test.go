// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

var webPod = Pod{ID: "pod1", Name: "web", Namespace: "default", UID: "u1", NetNS: "/netns"}

func adding(plugin string) fakeConf {
	return fakeConf{Type: plugin, Result: json.RawMessage(twoAddresses)}
}

func TestAttach(t *testing.T) {
	s := newSite(t, "bridge", "portmap")
	bridge, portmap := adding("bridge"), adding("portmap")
	portmap.Capabilities = map[string]bool{
		"portMappings": true, "bandwidth": true, "dns": true, "cgroupPath": true, annotationsCapability: true,
	}
	s.write("10-main.conflist", "main", "1.0.0", bridge, portmap)
	pod := webPod
	pod.CgroupParent = "/kubepods/pod1"
	pod.DNS = &runtimeapi.DNSConfig{Servers: []string{"10.0.0.10"}}
	pod.Annotations = map[string]string{ingressBandwidth: "1M"}
	pod.PortMappings = []*runtimeapi.PortMapping{
		{ContainerPort: 80},
		{Protocol: runtimeapi.Protocol_UDP, ContainerPort: 53, HostPort: 5353, HostIp: "127.0.0.1"},
	}
	got, err := s.open().Attach(t.Context(), pod)
	if err != nil {
		t.Fatal(err)
	}
	if got.IP != "10.1.2.3" || !cmp.Equal(got.AdditionalIPs, []string{"fd00::5"}) {
		t.Errorf("addresses %s, %v", got.IP, got.AdditionalIPs)
	}
	if diff := cmp.Diff([]string{"ADD main/bridge eth0 /netns", "ADD main/portmap eth0 /netns"}, s.calls()); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	args, _ := os.ReadFile(s.trace + ".args")
	if want := "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;K8S_POD_INFRA_CONTAINER_ID=pod1;K8S_POD_UID=u1"; string(args) != want {
		t.Errorf("CNI_ARGS = %s\nwant       %s", args, want)
	}
	var capabilities, want map[string]any
	b, _ := os.ReadFile(s.trace + ".runtimeConfig")
	json.Unmarshal(b, &capabilities)
	json.Unmarshal([]byte(`{
		"portMappings": [{"HostPort": 5353, "ContainerPort": 53, "Protocol": "udp", "HostIP": "127.0.0.1"}],
		"bandwidth": {"IngressRate": 1000000, "IngressBurst": 4294967295, "EgressRate": 0, "EgressBurst": 0},
		"dns": {"Servers": ["10.0.0.10"], "Searches": null, "Options": null},
		"cgroupPath": "/kubepods/pod1",
		"io.kubernetes.cri.pod-annotations": {"kubernetes.io/ingress-bandwidth": "1M"}
	}`), &want)
	if diff := cmp.Diff(want, capabilities); diff != "" {
		t.Errorf("capabilities (-want +got):\n%s", diff)
	}
}

func TestResultAsJSON(t *testing.T) {
	s := newSite(t, "bridge")
	s.write("10-main.conflist", "main", "1.0.0", adding("bridge"))
	want, err := s.open().Attach(t.Context(), webPod)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got Result
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	again, _ := json.Marshal(got)
	if diff := cmp.Diff(string(b), string(again)); diff != "" {
		t.Errorf("result after a round trip (-want +got):\n%s", diff)
	}
	if ips := got.CNI.Interfaces["eth0"].IPConfigs; len(ips) != 2 || ips[1].Gateway.String() != "10.1.2.1" {
		t.Errorf("addresses of eth0 are %+v", ips)
	}
}

func TestIPPreference(t *testing.T) {
	for pref, want := range map[string]string{
		"":     "10.1.2.3 fd00::5",
		"ipv4": "10.1.2.3 fd00::5",
		"ipv6": "fd00::5 10.1.2.3",
		"cni":  "fd00::5 10.1.2.3",
	} {
		s := newSite(t, "bridge")
		s.opts.IPPref = pref
		s.write("10-main.conflist", "main", "1.0.0", adding("bridge"))
		r, err := s.open().Attach(t.Context(), webPod)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(append([]string{r.IP}, r.AdditionalIPs...), " "); got != want {
			t.Errorf("ip_pref %q gives %q, want %q", pref, got, want)
		}
	}
}

func TestAttachSeveralNetworks(t *testing.T) {
	for _, serially := range []bool{true, false} {
		s := newSite(t, "bridge", "macvlan")
		s.opts.MaxConfNum = 2
		s.opts.SetupSerially = serially
		s.write("10-main.conflist", "main", "1.0.0", adding("bridge"))
		second := adding("macvlan")
		second.Result = json.RawMessage(`{"cniVersion": "1.0.0", "ips": [], "interfaces": [{"name": "eth1"}]}`)
		s.write("20-second.conflist", "second", "1.0.0", second)
		s.write("30-third.conflist", "third", "1.0.0", fakeConf{Type: "missing"})
		n := s.open()
		r, err := n.Attach(t.Context(), webPod)
		if err != nil {
			t.Fatal(err)
		}
		if r.IP != "10.1.2.3" || r.CNI.Interfaces["eth1"] == nil {
			t.Errorf("result %+v", r)
		}
		if calls := s.calls(); len(calls) != 2 {
			t.Errorf("calls %q", calls)
		}
		if err := n.Detach(t.Context(), webPod); err != nil {
			t.Fatal(err)
		}
		want := []string{"DEL second/macvlan eth1 ", "DEL main/bridge eth0 "}
		if diff := cmp.Diff(want, s.calls()); diff != "" {
			t.Errorf("calls of Detach (-want +got):\n%s", diff)
		}
	}
}

func TestAttachFailure(t *testing.T) {
	answering := func(result string) fakeConf { return fakeConf{Type: "tuning", Result: json.RawMessage(result)} }
	failing := func(do map[string]string) fakeConf {
		c := adding("tuning")
		c.Do = do
		return c
	}
	tests := []struct {
		name     string
		second   fakeConf
		want     []string // in the error
		attached bool     // whether Detach has an error
	}{
		{"plugin error", failing(map[string]string{"ADD": "fail"}), []string{"main", "tuning is out of order"}, false},
		{"plugin crash", failing(map[string]string{"ADD": "crash"}), []string{"tuning", "segmentation violation", "exit status 2"}, false},
		{"long stderr", failing(map[string]string{"ADD": "longStderr"}), []string{"tuning", "exit status 2"}, false},
		{"long error", failing(map[string]string{"ADD": "longError"}), []string{"tuning", "aaaa"}, false},
		{"no result", failing(map[string]string{"ADD": "noResult"}), []string{"tuning"}, false},
		{"DEL fails too", failing(map[string]string{"ADD": "fail", "DEL": "crash"}), []string{"out of order", "segmentation"}, true},
		{"DEL of unknown container", failing(map[string]string{"ADD": "fail", "DEL": "unknown"}), []string{"out of order"}, false},
		{
			"no address", fakeConf{Type: "tuning", Result: json.RawMessage(`{"cniVersion": "1.0.0", "ips": []}`)},
			[]string{"eth0", "no address"}, false,
		},
		{"null interface", answering(`{"cniVersion": "1.0.0", "interfaces": [null]}`), []string{"bin/tuning", "interfaces[0] is null"}, false},
		{
			"null interface of an old version", answering(`{"cniVersion": "0.4.0", "interfaces": [{"name": "eth0"}, null]}`),
			[]string{"bin/tuning", "interfaces[1] is null"}, false,
		},
		{"null address", answering(`{"cniVersion": "1.0.0", "ips": [null]}`), []string{"bin/tuning", "ips[0] is null"}, false},
		{"no address in an entry", answering(`{"cniVersion": "1.0.0", "ips": [{"interface": 0}]}`), []string{"bin/tuning", "ips[0]"}, false},
		{"null route", answering(`{"cniVersion": "1.0.0", "routes": [null]}`), []string{"bin/tuning", "routes[0] is null"}, false},
		{"null in DNS", answering(`{"cniVersion": "1.0.0", "dns": {"search": [null]}}`), []string{"bin/tuning", "dns.search[0] is null"}, false},
		{"object instead of a list", answering(`{"cniVersion": "1.0.0", "interfaces": {"name": "eth0"}}`), []string{"bin/tuning", "interfaces"}, false},
		{
			"too many routes", answering(`{"cniVersion": "1.0.0", "routes": [` + strings.Repeat(`{"dst": "10.0.0.0/8"},`, 1000) + `{"dst": "10.0.0.0/8"}]}`),
			[]string{"bin/tuning", "1001 entries"}, false,
		},
		{"too long", answering(`{"cniVersion": "` + strings.Repeat("1", 1<<20) + `"}`), []string{"bin/tuning", "1048576 bytes"}, false},
		{"invalid version", answering(`{"cniVersion": "eleven"}`), []string{"tuning", "eleven"}, false},
		{"future version", answering(`{"cniVersion": "9.0.0"}`), []string{"tuning", "9.0.0"}, false},
		{"not a result", answering(`[null]`), []string{"bin/tuning"}, false},
		{"null", answering(`null`), []string{"bin/tuning", "null"}, false},
		{"long version", answering(`{"cniVersion": "` + strings.Repeat("1", 33) + `"}`), []string{"bin/tuning", "33 bytes"}, false},
		{
			"impossible interface",
			fakeConf{Type: "tuning", Result: json.RawMessage(`{"cniVersion": "1.0.0", "ips": [{"address": "10.0.0.2/24", "interface": 7}]}`)},
			[]string{"10.0.0.2", "interface 7"}, false,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t, "bridge", "tuning")
			s.write("10-main.conflist", "main", "1.0.0", adding("bridge"), tt.second)
			n := s.open()
			_, err := n.Attach(t.Context(), webPod)
			if err == nil {
				t.Fatal("Attach succeeded")
			}
			detachErr := n.Detach(t.Context(), webPod)
			if (detachErr != nil) != tt.attached {
				t.Errorf("Detach after a failed Attach: %v, want an error: %v", detachErr, tt.attached)
			}
			err = errors.Join(err, detachErr)
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %.1000q does not contain %q", err, want)
				}
			}
			if len(err.Error()) > 3*maxErrorText {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
			calls := s.calls()
			if len(calls) < 3 || calls[2] != "DEL main/tuning eth0 " {
				t.Errorf("calls %q; want the first DEL by Detach", calls)
			}
			if tt.second.Do["DEL"] == "" && len(calls) != 4 {
				t.Errorf("calls %q; want a DEL of every plugin", calls)
			}
		})
	}
}

// A plugin that hangs, and its child, are killed when the context ends.
func TestAttachTimeout(t *testing.T) {
	s := newSite(t, "bridge")
	c := adding("bridge")
	c.Do = map[string]string{"ADD": "hang"}
	s.write("10-main.conflist", "main", "1.0.0", c)
	started, dead := s.hanging()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-started
		cancel()
	}()
	_, err := s.open().Attach(ctx, webPod)
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "bridge") {
		t.Errorf("Attach: %v; want Canceled and the name of the plugin", err)
	}
	<-dead
	if diff := cmp.Diff([]string{"ADD main/bridge eth0 /netns"}, s.calls()); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

func TestAttachRefuses(t *testing.T) {
	bad := func(change func(*Pod)) Pod {
		p := webPod
		change(&p)
		return p
	}
	tests := []struct {
		name  string
		pod   Pod
		setup func(*site)
		class func(error) bool
		want  string
	}{
		{"no config", webPod, func(*site) {}, errdefs.IsFailedPrecondition, "no CNI config in "},
		{
			"broken config", webPod, func(s *site) { s.writeFile("10-x.conflist", "{") },
			errdefs.IsFailedPrecondition, "10-x.conflist",
		},
		{
			"config without plugins", webPod, func(s *site) { s.writeFile("10-x.conflist", `{"name": "x", "plugins": []}`) },
			errdefs.IsFailedPrecondition, "10-x.conflist",
		},
		{
			"config without a type", webPod, func(s *site) { s.writeFile("10-x.conf", `{"name": "x"}`) },
			errdefs.IsFailedPrecondition, "10-x.conf",
		},
		{
			"plugin missing", webPod, func(s *site) { s.write("10-main.conflist", "main", "1.0.0", fakeConf{Type: "calico"}) },
			errdefs.IsFailedPrecondition, `"calico" is not in `,
		},
		{
			"plugin with a path", webPod, func(s *site) { s.write("10-main.conflist", "main", "1.0.0", fakeConf{Type: "../../bin/sh"}) },
			errdefs.IsFailedPrecondition, "../../bin/sh",
		},
		{"bandwidth without a number", bad(func(p *Pod) { p.Annotations = map[string]string{egressBandwidth: "fast"} }), nil, errdefs.IsInvalidArgument, egressBandwidth},
		{"bandwidth too small", bad(func(p *Pod) { p.Annotations = map[string]string{ingressBandwidth: "10"} }), nil, errdefs.IsInvalidArgument, ingressBandwidth},
		{"name with an argument", bad(func(p *Pod) { p.Name = "x;IP=10.0.0.1" }), nil, errdefs.IsInvalidArgument, "K8S_POD_NAME"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t, "bridge")
			if tt.setup == nil {
				s.write("10-main.conflist", "main", "1.0.0", adding("bridge"))
			} else {
				tt.setup(s)
			}
			_, err := s.open().Attach(t.Context(), tt.pod)
			if !tt.class(err) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Attach: %v; want another class or %q in it", err, tt.want)
			}
			if calls := s.calls(); calls != nil {
				t.Errorf("plugins were called: %q", calls)
			}
			if tt.setup != nil {
				if status := s.network.Status(""); status == nil || status.Error() != err.Error() {
					t.Errorf("Status: %v, want the error of Attach", status)
				}
			}
		})
	}
}

func TestHandlers(t *testing.T) {
	s := newSite(t, "bridge", "vm")
	s.write("10-main.conflist", "main", "1.0.0", adding("bridge"))
	other := newSite(t)
	other.trace = s.trace
	other.write("10-vm.conflist", "vmnet", "1.0.0", adding("vm"))
	s.opts.Handlers = map[string]HandlerConf{"kata": {ConfDir: other.confDir}}
	n := s.open()
	for handler, want := range map[string]string{"": "ADD main/bridge", "runc": "ADD main/bridge", "kata": "ADD vmnet/vm"} {
		pod := webPod
		pod.Handler = handler
		if _, err := n.Attach(t.Context(), pod); err != nil {
			t.Fatal(err)
		}
		if calls := s.calls(); len(calls) != 1 || !strings.HasPrefix(calls[0], want) {
			t.Errorf("handler %q: calls %q, want %q", handler, calls, want)
		}
	}
}

func TestDetach(t *testing.T) {
	attach := func(t *testing.T, s *site) {
		t.Helper()
		if _, err := s.network.Attach(t.Context(), webPod); err != nil {
			t.Fatal(err)
		}
		s.calls()
	}
	remove := func(t *testing.T, s *site) {
		t.Helper()
		if err := os.Remove(filepath.Join(s.confDir, "10-main.conflist")); err != nil {
			t.Fatal(err)
		}
	}
	delMain := []string{"DEL main/bridge eth0 "}
	tests := []struct {
		name string
		do   func(t *testing.T, s *site)
		want []string
	}{
		{"attached", attach, delMain},
		{"configuration removed", func(t *testing.T, s *site) {
			attach(t, s)
			remove(t, s)
			s.open()
		}, delMain},
		{"other configuration", func(t *testing.T, s *site) {
			attach(t, s)
			remove(t, s)
			s.write("10-new.conflist", "new", "1.0.0", adding("cilium"))
			s.open()
		}, delMain},
		{"never attached", func(*testing.T, *site) {}, delMain},
		{"never attached, no configuration", func(t *testing.T, s *site) {
			remove(t, s)
			s.open()
		}, nil},
		{"twice", func(t *testing.T, s *site) {
			attach(t, s)
			if err := s.network.Detach(t.Context(), webPod); err != nil {
				t.Fatal(err)
			}
			s.calls()
		}, delMain},
		{"cache lost in a power failure", func(t *testing.T, s *site) {
			attach(t, s)
			cached, _ := filepath.Glob(filepath.Join(s.cache, "results", "*"))
			if len(cached) != 1 {
				t.Fatalf("cache %q", cached)
			}
			if err := os.Truncate(cached[0], 0); err != nil {
				t.Fatal(err)
			}
		}, delMain},
		{"interrupted between two networks", func(t *testing.T, s *site) {
			attach(t, s) // the cache has only eth0
			s.opts.MaxConfNum = 2
			s.write("20-second.conflist", "second", "1.0.0", adding("cilium"))
			s.open()
		}, []string{"DEL second/cilium eth1 ", "DEL main/bridge eth0 "}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t, "bridge", "cilium")
			s.opts.MaxConfNum = 1
			s.write("10-main.conflist", "main", "1.0.0", adding("bridge"))
			s.open()
			tt.do(t, s)
			if err := s.network.Detach(t.Context(), webPod); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, s.calls()); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
			cached, err := os.ReadDir(filepath.Join(s.cache, "results"))
			if err != nil && !os.IsNotExist(err) || len(cached) > 0 {
				t.Errorf("cache after Detach: %v, %v", cached, err)
			}
		})
	}
}

// Detach of a pod without a record needs only its ID: the other arguments come from the CNI cache.
func TestDetachByID(t *testing.T) {
	s := newSite(t, "bridge")
	bridge := adding("bridge")
	bridge.Capabilities = map[string]bool{"portMappings": true}
	s.write("10-main.conflist", "main", "1.0.0", bridge)
	pod := webPod
	pod.PortMappings = []*runtimeapi.PortMapping{{ContainerPort: 80, HostPort: 8080}}
	if _, err := s.open().Attach(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	attached, err := s.network.Attached()
	if diff := cmp.Diff(map[string]string{"pod1": "/netns"}, attached); diff != "" || err != nil {
		t.Errorf("attached (-want +got):\n%s%v", diff, err)
	}
	args, capabilities := s.passed(t)
	if err := s.network.Detach(t.Context(), Pod{ID: pod.ID}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"ADD main/bridge eth0 /netns", "DEL main/bridge eth0 "}, s.calls()); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	delArgs, delCapabilities := s.passed(t)
	if diff := cmp.Diff(args, delArgs) + cmp.Diff(capabilities, delCapabilities); diff != "" {
		t.Errorf("arguments differ (-ADD +DEL):\n%s", diff)
	}
	if attached, err := s.network.Attached(); len(attached) != 0 || err != nil {
		t.Errorf("attached after Detach: %v, %v", attached, err)
	}
}

// Detach passes an existing network namespace to the plugins.
func TestDetachUsesTheNetNS(t *testing.T) {
	p, _ := newTestPinner(t)
	ns, err := p.Pin(t.Context(), PinOptions{ID: "pod1", Net: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Unpin(context.Background(), "pod1", Namespaces{}) })
	s := newSite(t, "bridge")
	s.write("10-main.conflist", "main", "1.0.0", adding("bridge"))
	pod := webPod
	pod.NetNS = ns.Net
	if err := s.open().Detach(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"DEL main/bridge eth0 " + ns.Net}, s.calls()); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

func TestDetachFailure(t *testing.T) {
	s := newSite(t, "bridge", "macvlan")
	s.opts.MaxConfNum = 2
	c := adding("macvlan")
	c.Do = map[string]string{"DEL": "fail"}
	s.write("10-main.conflist", "main", "1.0.0", adding("bridge"))
	s.write("20-second.conflist", "second", "1.0.0", c)
	err := s.open().Detach(t.Context(), webPod)
	if err == nil || !strings.Contains(err.Error(), "macvlan is out of order") {
		t.Errorf("Detach: %v", err)
	}
	if calls := s.calls(); len(calls) != 2 {
		t.Errorf("calls %q; want the other network detached as well", calls)
	}
}

func TestInfo(t *testing.T) {
	s := newSite(t, "bridge")
	s.write("10-main.conflist", "main", "1.0.0", adding("bridge"))
	info, err := s.open().Info("")
	if err != nil {
		t.Fatal(err)
	}
	if len(info.Networks) != 1 || info.Networks[0].Config.Name != "main" || info.Networks[0].IFName != "eth0" {
		t.Errorf("info %+v", info)
	}
}
