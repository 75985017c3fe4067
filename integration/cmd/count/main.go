// SPDX-License-Identifier: Apache-2.0

// Count runs `go test` in the directory of a module and counts its tests: `count NAME DIRECTORY
// [go test arguments...]`. It prints the output of the tests that fail, why tests are skipped,
// lines that begin with "report: ", one line per package, and a summary:
//
//	NAME: 12 passed, 0 failed, 1 skipped
//
// It appends the summary to .tools/counts of the working directory, which is the checkout; .ci/run
// adds up the numbers there. Subtests count as tests.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// event is a line of `go test -json` (see go doc test2json).
type event struct {
	Action, Package, Test, Output string
}

type counter struct {
	passed, failed, skipped int
	output                  map[string]*strings.Builder // by package and test, while the test runs
}

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: count NAME DIRECTORY [go test arguments...]")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(name, dir string, args []string) error {
	cmd := exec.Command("go", append([]string{"test", "-json"}, args...)...)
	cmd.Dir = dir
	cmd.Stderr = os.Stderr
	events, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	c := counter{output: map[string]*strings.Builder{}}
	err = errors.Join(c.read(events), cmd.Wait())
	line := fmt.Sprintf("%s: %d passed, %d failed, %d skipped\n", name, c.passed, c.failed, c.skipped)
	fmt.Print(line)
	return errors.Join(err, addLine(".tools/counts", line))
}

func (c *counter) read(events io.Reader) error {
	lines := bufio.NewReader(events)
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		var e event
		if json.Unmarshal(line, &e) != nil {
			fmt.Printf("%s", line) // output of go itself, such as a build error
			continue
		}
		c.see(e)
	}
}

func (c *counter) see(e event) {
	key := e.Package + " " + e.Test
	switch e.Action {
	case "output", "build-output":
		if e.Test == "" || strings.HasPrefix(e.Output, "report: ") {
			fmt.Print(e.Output)
			return
		}
		if c.output[key] == nil {
			c.output[key] = &strings.Builder{}
		}
		c.output[key].WriteString(e.Output)
	case "pass", "fail", "skip":
		if e.Test != "" {
			c.end(e, key)
			return
		}
		c.endPackage(e.Package)
	}
}

// endPackage prints the output of the tests of a package that have no result: the package was
// killed, or ran out of time. They count as failed.
func (c *counter) endPackage(name string) {
	for _, key := range slices.Sorted(maps.Keys(c.output)) {
		if !strings.HasPrefix(key, name+" ") {
			continue
		}
		c.failed++
		fmt.Print(c.output[key])
		delete(c.output, key)
	}
}

func (c *counter) end(e event, key string) {
	text := ""
	if output := c.output[key]; output != nil {
		text = output.String()
	}
	delete(c.output, key)
	switch e.Action {
	case "pass":
		c.passed++
	case "fail":
		c.failed++
		fmt.Print(text)
	case "skip":
		c.skipped++
		fmt.Printf("skipped: %s: %s\n", e.Test, reason(text))
	}
}

// reason returns the message of a skipped test, without the lines that go adds.
func reason(text string) string {
	var said []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "=== ") && !strings.HasPrefix(line, "--- ") {
			said = append(said, line)
		}
	}
	return strings.Join(said, " ")
}

func addLine(file, line string) error {
	if err := os.MkdirAll(".tools", 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(line)
	return errors.Join(err, f.Close())
}
