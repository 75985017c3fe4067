// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"os"
	"os/exec"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Lines of /proc/net/dev.
const (
	netHead = "Inter-|   Receive                                                |  Transmit\n" +
		" face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n"
	netLo   = "    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0       0          0\n"
	netNet1 = "  net1:      11       2    3    4    5     6          7         8        9      10   11   12   13    14      15         16\n"
	netEth0 = "  eth0:18446744073709551615 2 30 4    5     6          7         8       90      10  110   12   13    14      15         16\n"
	netVeth = "vethab0:      1       2    3    4    5     6          7         8        9      10   11   12   13    14      15         16\n"
)

func TestNetworkUsage(t *testing.T) {
	one := &runtimeapi.NetworkInterfaceUsage{Name: "net1", RxBytes: value(11), RxErrors: value(3), TxBytes: value(9), TxErrors: value(11)}
	two := &runtimeapi.NetworkInterfaceUsage{Name: "eth0", RxBytes: value(1<<64 - 1), RxErrors: value(30), TxBytes: value(90), TxErrors: value(110)}
	tests := []struct {
		name, content string
		want          *runtimeapi.NetworkUsage
	}{
		{"none", netHead + netLo, nil},
		{"eth0 is the default", netHead + netLo + netNet1 + netEth0,
			&runtimeapi.NetworkUsage{Timestamp: 42, DefaultInterface: two, Interfaces: []*runtimeapi.NetworkInterfaceUsage{one, two}}},
		{"or the first", netHead + netNet1,
			&runtimeapi.NetworkUsage{Timestamp: 42, DefaultInterface: one, Interfaces: []*runtimeapi.NetworkInterfaceUsage{one}}},
		{"cut off", netHead + netNet1 + netEth0[:40],
			&runtimeapi.NetworkUsage{Timestamp: 42, DefaultInterface: one, Interfaces: []*runtimeapi.NetworkInterfaceUsage{one}}},
		{"empty", "", nil},
	}
	for _, tt := range tests {
		got := networkReadings{at: 42, interfaces: parseNetDev([]byte(tt.content))}.message()
		if d := cmp.Diff(tt.want, got, protocmp.Transform()); d != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, d)
		}
	}
}

// TestNetworkOfProcess checks that a process is used only if it is in the network namespace.
func TestNetworkOfProcess(t *testing.T) {
	r, err := NewReader("/")
	if err != nil {
		t.Fatal(err)
	}
	self := uint32(os.Getpid())
	if n, ok := r.networkOf(self, "/proc/self/ns/net"); !ok || n.at == 0 {
		t.Error("a process is not in its own network namespace")
	}
	ended := exec.Command("true")
	if err := ended.Run(); err != nil {
		t.Fatal(err)
	}
	for what, in := range map[string]struct {
		pid   uint32
		netns string
	}{
		"no network namespace":          {self, "/proc/self/ns/mnt"},
		"a removed namespace":           {self, t.TempDir() + "/gone"},
		"a process that has exited":     {uint32(ended.Process.Pid), "/proc/self/ns/net"},
		"a container without a process": {0, "/proc/self/ns/net"},
	} {
		if _, ok := r.networkOf(in.pid, in.netns); ok {
			t.Errorf("%s has counters", what)
		}
	}
}
