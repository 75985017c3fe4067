// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"strings"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

var networkMetrics = []metric{
	perInterface("container_network_receive_bytes_total", "Cumulative count of bytes received",
		func(i *netInterface) num { return i.rx.bytes }),
	perInterface("container_network_receive_packets_total", "Cumulative count of packets received",
		func(i *netInterface) num { return i.rx.packets }),
	perInterface("container_network_receive_packets_dropped_total", "Cumulative count of packets dropped while receiving",
		func(i *netInterface) num { return i.rx.dropped }),
	perInterface("container_network_receive_errors_total", "Cumulative count of errors encountered while receiving",
		func(i *netInterface) num { return i.rx.errors }),
	perInterface("container_network_transmit_bytes_total", "Cumulative count of bytes transmitted",
		func(i *netInterface) num { return i.tx.bytes }),
	perInterface("container_network_transmit_packets_total", "Cumulative count of packets transmitted",
		func(i *netInterface) num { return i.tx.packets }),
	perInterface("container_network_transmit_packets_dropped_total", "Cumulative count of packets dropped while transmitting",
		func(i *netInterface) num { return i.tx.dropped }),
	perInterface("container_network_transmit_errors_total", "Cumulative count of errors encountered while transmitting",
		func(i *netInterface) num { return i.tx.errors }),
}

func perInterface(name, help string, get func(i *netInterface) num) metric {
	return metric{name, help, runtimeapi.MetricType_COUNTER, []string{"interface"}, func(s *subject, add addFunc) {
		for n := range s.network.interfaces {
			if i := &s.network.interfaces[n]; !isNested(i.name) {
				add(get(i), i.name)
			}
		}
	}}
}

// isNested reports whether an interface belongs to software that runs inside of a pod, such as a
// container engine. The list of prefixes is cAdvisor's.
func isNested(name string) bool {
	for _, prefix := range []string{"lo", "veth", "docker", "nerdctl"} {
		if strings.HasPrefix(strings.ToLower(name), prefix) {
			return true
		}
	}
	return false
}
