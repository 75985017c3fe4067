// SPDX-License-Identifier: Apache-2.0

package host

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/containerd/errdefs"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// resolvConf writes a resolv.conf(5). No value can break out of its line (CVE-2022-4318 was that, in another file).
func resolvConf(dns *runtimeapi.DNSConfig) ([]byte, error) {
	err := errors.Join(
		checkWords("servers", dns.GetServers()),
		checkWords("searches", dns.GetSearches()),
		checkWords("options", dns.GetOptions()),
	)
	if err != nil {
		return nil, err
	}
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
	return b.Bytes(), nil
}

func checkWords(field string, words []string) error {
	for i, w := range words {
		if w == "" || strings.IndexFunc(w, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) >= 0 {
			return fmt.Errorf("dns_config.%s[%d]: %q is not one word: %w", field, i, w, errdefs.ErrInvalidArgument)
		}
	}
	return nil
}
