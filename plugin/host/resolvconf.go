// SPDX-License-Identifier: Apache-2.0

package host

import (
	"bytes"
	"fmt"
	"strings"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// resolvConf writes a resolv.conf(5). No value can break out of its line (CVE-2022-4318 was that,
// in another file): [spec.CheckPod] takes single words only.
func resolvConf(dns *runtimeapi.DNSConfig) []byte {
	var b bytes.Buffer
	if s := dns.GetSearches(); len(s) > 0 {
		fmt.Fprintf(&b, "search %s\n", strings.Join(s, " "))
	}
	for _, server := range dns.GetServers() {
		fmt.Fprintf(&b, "nameserver %s\n", server)
	}
	if o := dns.GetOptions(); len(o) > 0 {
		fmt.Fprintf(&b, "options %s\n", strings.Join(o, " "))
	}
	return b.Bytes()
}
