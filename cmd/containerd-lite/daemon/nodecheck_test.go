// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd-lite/containerd-lite/plugin/check"
)

// TestNodeCheck runs the command on this machine, whatever is missing on it.
func TestNodeCheck(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.toml")
	run := func(content string, args ...string) (string, error) {
		t.Helper()
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		app := Command()
		app.Writer = &out
		err := app.Run(t.Context(), append([]string{"containerd-lite", "--config", file, "check", "--local"}, args...))
		return out.String(), err
	}

	said, err := run("version = 3\n")
	lines := strings.Split(strings.TrimSpace(said), "\n")
	if lines[0] != "ok      config: "+file+" is valid" || !strings.Contains(lines[len(lines)-1], " errors, ") {
		t.Errorf("output:\n%s", said)
	}
	var found []check.Finding
	said, errJSON := run("version = 3\n", "--json")
	if decodeErr := json.Unmarshal([]byte(said), &found); decodeErr != nil {
		t.Fatalf("%v: %s", decodeErr, said)
	}
	if failed := check.HasErrors(found); failed != (err != nil) || failed != (errJSON != nil) {
		t.Errorf("the command returns %v, %v for %v", err, errJSON, found)
	}

	said, err = run("version = 3\n[plugins.'io.containerd.grpc.v1.cri']\nstream_server_port = 0\nstream_idle_timeout = 'x'\n")
	if err == nil || !strings.Contains(said, file+":3: ") || !strings.HasSuffix(said, "1 errors, 0 warnings, 0 ok\n") {
		t.Errorf("%v:\n%s", err, said)
	}
}
