// SPDX-License-Identifier: Apache-2.0

package check

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
)

// TestRegistries checks what is said of the answers of registries. A host is given by its URL and
// its answer: an HTTP status, or 0 for none.
func TestRegistries(t *testing.T) {
	type host struct {
		url    string
		status int
	}
	for name, test := range map[string]struct {
		hosts []host
		want  string
	}{
		"well":                            {[]host{{"https://r/v2", 200}}, "ok"},
		"down":                            {[]host{{"https://r/v2", 0}}, "error"},
		"a mirror, upstream not in reach": {[]host{{"https://m/v2", 200}, {"https://r/v2", 0}}, "ok warning"},
		"mirror and upstream down":        {[]host{{"https://m/v2", 0}, {"https://r/v2", 0}}, "error error"},
		"refused":                         {[]host{{"https://r/v2", 401}}, "warning"},
		"another server":                  {[]host{{"https://r/v2", 404}}, "warning"},
		"a project of a registry":         {[]host{{"https://r/v2/project", 404}}, "ok"},
		"broken":                          {[]host{{"https://r/v2", 500}}, "warning"},
	} {
		var hosts []Host
		for _, h := range test.hosts {
			hosts = append(hosts, Host{Registry: "r", URL: h.url, Do: func(*http.Request) (*http.Response, error) {
				if h.status == 0 {
					return nil, errors.New("no answer")
				}
				return &http.Response{StatusCode: h.status, Body: io.NopCloser(strings.NewReader(""))}, nil
			}})
		}
		var got []string
		for i, f := range Registries(t.Context(), hosts) {
			got = append(got, string(f.Level))
			if !strings.Contains(f.What, test.hosts[i].url) {
				t.Errorf("%s: %s does not name %s", name, f, test.hosts[i].url)
			}
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}
