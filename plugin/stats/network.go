// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"bytes"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/network"
)

// The fields of a line of /proc/net/dev after the interface's name.
const (
	rxBytes  = 0
	rxErrors = 2
	txBytes  = 8
	txErrors = 10
	txLast   = 15
)

// networkUsage reads the counters of the interfaces in a network namespace, but
// for the loopback. The default interface is eth0, or the first.
func (b *buffers) networkUsage(netns string) (usage *runtimeapi.NetworkUsage, err error) {
	err = network.InNetNS(netns, func() error {
		b.in("/proc/thread-self/net", func(d dir) {
			if content, ok := d.read("dev"); ok {
				usage = parseNetDev(content, time.Now())
			}
		})
		return nil
	})
	return usage, err
}

func parseNetDev(content []byte, at time.Time) *runtimeapi.NetworkUsage {
	usage := &runtimeapi.NetworkUsage{Timestamp: at.UnixNano()}
	for line := range bytes.Lines(content) {
		name, rest, ok := bytes.Cut(line, []byte{':'})
		columns := bytes.Fields(rest)
		if !ok || len(columns) <= txLast { // a headline, or cut off
			continue
		}
		counter := func(column int) *runtimeapi.UInt64Value {
			n, _ := number(columns[column])
			return value(n)
		}
		i := &runtimeapi.NetworkInterfaceUsage{
			Name:     string(bytes.TrimSpace(name)),
			RxBytes:  counter(rxBytes),
			RxErrors: counter(rxErrors),
			TxBytes:  counter(txBytes),
			TxErrors: counter(txErrors),
		}
		if i.Name == "lo" {
			continue
		}
		usage.Interfaces = append(usage.Interfaces, i)
		if usage.DefaultInterface == nil || i.Name == "eth0" {
			usage.DefaultInterface = i
		}
	}
	return usage
}
