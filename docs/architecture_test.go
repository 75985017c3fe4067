// SPDX-License-Identifier: Apache-2.0

package docs_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	picture = regexp.MustCompile("(?s)```\n(.*?)```")
	// branch is a step in a picture: `│    ├─ mountVolume   what it does`.
	branch = regexp.MustCompile(`─ ([^─►]+?)(?:  | ─|$)`)
	// name is an identifier that cannot be a word of English.
	name = regexp.MustCompile(`\b[a-z]+[A-Z]\w*\b|\b\w+\.[A-Za-z]\w+\b`)
	word = regexp.MustCompile(`\w+`)
)

// TestPicturesNameTheCode looks for each identifier and Go file of the pictures in architecture.md.
func TestPicturesNameTheCode(t *testing.T) {
	text, err := os.ReadFile("architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	known := codeWords(t)
	for _, p := range picture.FindAllStringSubmatch(string(text), -1) {
		for _, missing := range missingNames(p[1], known) {
			t.Errorf("%s is not in the code", missing)
		}
	}
	if missing := missingNames("  ├─ notThere   does it\n  └─ Files.Create\n", map[string]bool{"Files": true, "Create": true}); len(missing) != 1 {
		t.Errorf("a picture with one wrong name: found %v", missing)
	}
}

// missingNames returns the identifiers at the branches of a picture that are not known.
func missingNames(picture string, known map[string]bool) []string {
	var missing []string
	for _, step := range branch.FindAllStringSubmatch(picture, -1) {
		for _, identifier := range name.FindAllString(step[1], -1) {
			for _, part := range strings.Split(identifier, ".") {
				if !known[part] {
					missing = append(missing, identifier)
				}
			}
		}
	}
	return missing
}

// codeWords returns the words of the Go files, and the parts of their names.
func codeWords(t *testing.T) map[string]bool {
	t.Helper()
	words := map[string]bool{"go": true, "json": true}
	for _, root := range []string{"../plugin", "../shim", "../internal", "../cmd"} {
		err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
				return err
			}
			words[strings.TrimSuffix(filepath.Base(path), ".go")] = true
			text, err := os.ReadFile(path)
			for _, w := range word.FindAllString(string(text), -1) {
				words[w] = true
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return words
}
