// SPDX-License-Identifier: Apache-2.0

package canary

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
)

// Weight is the resource usage of a program.
type Weight struct {
	Files      int
	Goroutines int // 0 without a debug socket
	RSS        int // maximum of RSS since ResetPeak
	Peak       int // the most that RSS was since ResetPeak
}

// Weigh measures a process. debug is the path of its socket for profiles, or empty.
func Weigh(ctx context.Context, pid int, debug string) (Weight, error) {
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return Weight{}, fmt.Errorf("weigh process %d: %w", pid, err)
	}
	w := Weight{Files: len(files)}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return Weight{}, fmt.Errorf("weigh process %d: %w", pid, err)
	}
	for line := range strings.Lines(string(status)) {
		// Other lines match neither format.
		_, _ = fmt.Sscanf(line, "VmRSS: %d", &w.RSS)
		_, _ = fmt.Sscanf(line, "VmHWM: %d", &w.Peak)
	}
	if debug != "" {
		w.Goroutines, err = goroutines(ctx, debug)
	}
	return w, err
}

// ResetPeak begins a new measurement of Peak.
func ResetPeak(pid int) error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0)
}

// goroutines requests a profile after a garbage collection, so that resources that only wait for a
// finalizer are not counted.
func goroutines(ctx context.Context, debug string) (int, error) {
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", debug)
		},
	}}
	for _, path := range []string{"heap?gc=1", "goroutine?debug=1"} {
		q, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://daemon/debug/pprof/"+path, nil)
		if err != nil {
			return 0, err
		}
		answer, err := client.Do(q)
		if err != nil {
			return 0, fmt.Errorf("profile %s: %w", path, err)
		}
		var count int
		lines := bufio.NewReader(answer.Body)
		first, _ := lines.ReadString('\n')
		_, _ = lines.WriteTo(io.Discard)
		answer.Body.Close()
		if n, _ := fmt.Sscanf(first, "goroutine profile: total %d", &count); n == 1 {
			return count, nil
		}
	}
	return 0, fmt.Errorf("profile of goroutines: no total in the answer")
}
