// SPDX-License-Identifier: Apache-2.0

package repo_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

const maxMarkdownColumns = 118

var (
	testName = regexp.MustCompile(`\bTest[A-Z]\w+`)
	filePath = regexp.MustCompile("`((?:plugin|shim|internal|cmd|dist|integration)/[\\w./-]+)`")
	// pattern is a path that stands for several.
	pattern = regexp.MustCompile(`[*…<]|\.\.\.`)
)

// TestDocumentsNameTheCode fails for a test or a path in a document that does not exist.
func TestDocumentsNameTheCode(t *testing.T) {
	known := map[string]bool{}
	for _, f := range goFiles(t) {
		for _, fn := range f.funcs() {
			known[fn.Name.Name] = true
		}
	}
	for path, text := range documents(t) {
		for _, name := range testName.FindAllString(text, -1) {
			if !known[name] {
				t.Errorf("%s: no test is called %s", path, name)
			}
		}
		for _, match := range filePath.FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(match[1]); err != nil && !pattern.MatchString(match[1]) {
				t.Errorf("%s: there is no %s", path, match[1])
			}
		}
	}
}

// TestMarkdownWidth fails for a line of text that is too wide. Tables, headings, pictures and code
// do not wrap.
func TestMarkdownWidth(t *testing.T) {
	for path, text := range documents(t) {
		if strings.HasPrefix(path, "dist/man/") {
			continue // sources of the man pages
		}
		for _, line := range wideLines(text) {
			t.Errorf("%s: wider than %d columns: %s", path, maxMarkdownColumns, line)
		}
	}
	if got := wideLines("|" + strings.Repeat("x ", 80) + "\n" + strings.Repeat("y ", 80) + "\n"); len(got) != 1 {
		t.Errorf("a wide row of a table and a wide line: found %d, want the line", len(got))
	}
}

func wideLines(text string) []string {
	var wide []string
	isCode := false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		isCode = isCode != strings.HasPrefix(strings.TrimSpace(line), "```")
		if isCode || strings.HasPrefix(line, "|") || strings.HasPrefix(line, "#") || utf8.RuneCountInString(line) <= maxMarkdownColumns {
			continue
		}
		if strings.Contains(strings.TrimSpace(line), " ") {
			wide = append(wide, line)
		}
	}
	return wide
}
