// SPDX-License-Identifier: Apache-2.0

package repo_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

const (
	maxCommentColumns = 100
	tabColumns        = 4
	maxSubject        = 100
	// firstGuardedSubject is the subject of the oldest commit that TestCommitSubjects checks.
	firstGuardedSubject = "repo: wrap comments at 100 columns"
)

// phrase is a wording that docs/style.md replaces.
type phrase struct {
	pattern *regexp.Regexp
	instead string
	goOnly  bool // documents may have it: they are about people, too
}

func forbid(pattern, instead string) phrase {
	return phrase{pattern: regexp.MustCompile(`(?i)` + pattern), instead: instead}
}

var phrases = []phrase{
	forbid(`\btells? (whether|if)\b`, "reports whether"),
	forbid(`\b(tells?|told)\b`, "reports, returns, gets: name the component"),
	forbid(`\b(take|takes|taken|took|taking) down\b`, "record, or tear down"),
	forbid(`\bunder way\b`, "in progress"),
	forbid(`\banew\b`, "again, or re-"),
	forbid(`\b(nobody|somebody|whoever|whom)\b`, "name the component, or use the passive"),
	{regexp.MustCompile(`(?i)\bwho\b`), "that: a program is not a person", true},
	forbid(`\bcontrol groups?\b`, "cgroup"),
	forbid(`\bloss of power\b`, "power failure"),
	forbid(`\bprocess numbers?\b`, "PID"),
	forbid(`\bannounc(e|es|ed|ing|ement)\b`, "publish an event, report"),
	forbid(`\b(give|gives|gave|given|giving)( \w+){0,3} back\b`, "release, clean up, return"),
	forbid(`\bway back\b`, "rollback, teardown"),
	forbid(`\bfor ever\b`, "indefinitely, never"),
	forbid(`\bthe last look\b`, "say what changes"),
}

// fusedWhat is a sentence with a relative clause for a subject: "What is mounted goes first."
var fusedWhat = regexp.MustCompile(`(?:^[Ww]hat|[.;:!?] What) [a-z][^.?!]*[.!?]?`)

// offences returns what is wrong with a text.
func offences(text string, isGo bool) []string {
	var found []string
	for _, p := range phrases {
		if p.goOnly && !isGo {
			continue
		}
		if match := p.pattern.FindString(text); match != "" {
			found = append(found, `"`+match+`": write `+p.instead)
		}
	}
	for _, sentence := range fusedWhat.FindAllString(text, -1) {
		if !strings.HasSuffix(sentence, "?") {
			found = append(found, `"`+sentence+`": start with the subject`)
		}
	}
	return found
}

// quotes are the files that quote the phrases that they forbid.
var quotes = []string{"prose_test.go", "docs/style.md"}

// TestPhrases wants the field's English in comments, strings and documents (docs/style.md).
func TestPhrases(t *testing.T) {
	for _, f := range goFiles(t) {
		if slices.Contains(quotes, f.path) {
			continue
		}
		report := func(at token.Pos, text string) {
			for _, offence := range offences(strings.Join(strings.Fields(text), " "), true) {
				t.Errorf("%s:%d: %s", f.path, f.line(at), offence)
			}
		}
		for _, group := range f.ast.Comments {
			report(group.Pos(), group.Text())
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if literal, ok := n.(*ast.BasicLit); ok && literal.Kind == token.STRING {
				report(literal.Pos(), strings.Trim(literal.Value, "`\""))
			}
			return true
		})
	}
	for path, text := range documents(t) {
		if slices.Contains(quotes, path) {
			continue
		}
		for paragraph := range strings.SplitSeq(text, "\n\n") {
			for _, offence := range offences(strings.Join(strings.Fields(paragraph), " "), false) {
				t.Errorf("%s: %s", path, offence)
			}
		}
	}
}

// documents returns the text of every Markdown file by path.
func documents(t *testing.T) map[string]string {
	t.Helper()
	texts := map[string]string{}
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && path != "." && (entry.Name()[0] == '.' || entry.Name() == "testdata") {
			return fs.SkipDir
		}
		if entry.IsDir() || filepath.Ext(path) != ".md" {
			return nil
		}
		text, err := os.ReadFile(path)
		texts[filepath.ToSlash(path)] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return texts
}

func TestCommentWidth(t *testing.T) {
	for _, f := range goFiles(t) {
		for _, at := range wideComments(f) {
			t.Errorf("%s:%d: the comment is wider than %d columns", f.path, at, maxCommentColumns)
		}
	}
}

// wideComments returns the numbers of lines that have a comment and too many columns. Directives
// and a word that fits on no line are left out.
func wideComments(f goFile) []int {
	lines := strings.Split(string(f.text), "\n")
	var wide []int
	for _, group := range f.ast.Comments {
		for _, comment := range group.List {
			text, isLine := strings.CutPrefix(comment.Text, "// ")
			if !isLine || !strings.Contains(text, " ") || strings.HasPrefix(text, "\t") {
				continue
			}
			n := f.line(comment.Pos())
			line := lines[n-1]
			if utf8.RuneCountInString(line)+(tabColumns-1)*strings.Count(line, "\t") > maxCommentColumns {
				wide = append(wide, n)
			}
		}
	}
	return wide
}

// TestPackageDocFile wants the package comment in doc.go; in a folder of tests alone, in any file.
func TestPackageDocFile(t *testing.T) {
	for _, f := range goFiles(t) {
		if hasMisplacedDoc(f) {
			t.Errorf("%s: move the package comment to doc.go", f.path)
		}
	}
}

func hasMisplacedDoc(f goFile) bool {
	return f.ast.Doc != nil && !f.isTest() && f.ast.Name.Name != "main" && filepath.Base(f.path) != "doc.go"
}

// subject is `area: imperative text`.
var subject = regexp.MustCompile(`^[a-z0-9][a-z0-9/_., -]*: ([a-z]+)\b`)

// notImperative are words that are not an imperative: other forms of a verb, articles, pronouns.
var notImperative = regexp.MustCompile(`^(what|the|a|an|no|not|this|that|it|and|more|new|some|\w+(ed|ing))$`)

// imperatives are verbs that end like another form.
var imperatives = []string{"embed", "feed", "need", "seed", "speed", "bring", "string", "ping"}

func badSubject(text string) string {
	match := subject.FindStringSubmatch(text)
	switch {
	case match == nil:
		return "want `area: imperative text`"
	case notImperative.MatchString(match[1]) && !slices.Contains(imperatives, match[1]):
		return "want an imperative after the area, not " + match[1]
	case utf8.RuneCountInString(text) > maxSubject || strings.HasSuffix(text, "."):
		return "want a shorter subject without a full stop"
	}
	if found := offences(text, false); len(found) > 0 {
		return found[0]
	}
	return ""
}

func TestCommitSubjects(t *testing.T) {
	log, err := exec.Command("git", "log", "--no-merges", "--format=%s").Output()
	if err != nil {
		t.Skipf("no history of git here: %v", err)
	}
	for text := range strings.Lines(string(log)) {
		text = strings.TrimSpace(text)
		if why := badSubject(text); why != "" {
			t.Errorf("commit %q: %s", text, why)
		}
		if text == firstGuardedSubject {
			return
		}
	}
}

// TestOffences plants what the rules above must find.
func TestOffences(t *testing.T) {
	for text, want := range map[string]bool{
		"Shared reports whether the caller may join.":     false,
		"Shared tells whether the caller may join.":       true,
		"The kubelet is told the reason.":                 true,
		"exit takes down the code":                        true,
		"still under way":                                 true,
		"create the container anew":                       true,
		"an address that nobody has":                      true,
		"the one who asks":                                true,
		"the control group of a pod":                      true,
		"after a loss of power":                           true,
		"runtime wrote no process number":                 true,
		"before the exit is announced":                    true,
		"gives the address back":                          true,
		"the way back of a pod":                           true,
		"would be in use for ever":                        true,
		"What is mounted goes before the snapshots do.":   true,
		"It is removed. What is left stays.":              true,
		"What does the kubelet ask for?":                  false,
		"It returns what the kernel reported.":            false,
		"A container that was killed is listed as exited": false,
	} {
		if got := len(offences(text, true)) > 0; got != want {
			t.Errorf("%q: offence %v, want %v", text, got, want)
		}
	}
	for text, want := range map[string]bool{
		"container: wait for the log to drain before reporting the exit": true,
		"plugin/pod, shim: record the exit":                              true,
		"container: what the last look found":                            false,
		// The third person is not detected: a plural noun looks like it.
		"container: waits, and waited":                       true,
		"container: fixed the log":                           false,
		"Fix the log":                                        false,
		"container: wait for the log.":                       false,
		"container: wait " + strings.Repeat("x", maxSubject): false,
	} {
		if why := badSubject(text); (why == "") != want {
			t.Errorf("%q: %q, want good: %v", text, why, want)
		}
	}
	wide := parse(t, "p/p.go", "package p\n\n// "+strings.Repeat("word ", 30)+"\nvar a int // short\n")
	if got := wideComments(wide); !slices.Equal(got, []int{3}) {
		t.Errorf("wide comments in lines %v, want 3", got)
	}
	for path, want := range map[string]bool{"p/doc.go": false, "p/p.go": true, "p/p_test.go": false} {
		if got := hasMisplacedDoc(parse(t, path, "// Package p has a comment.\npackage p\n")); got != want {
			t.Errorf("package comment in %s: offence %v, want %v", path, got, want)
		}
	}
	for format, count := range map[string]int{"func (x *T) m%d() {}": maxMethods, "func (x T) M%d() {}": maxExported} {
		for _, extra := range []int{0, 1} {
			code := "package p\n"
			for n := range count + extra {
				code += fmt.Sprintf(format, n) + "\n"
			}
			if got := len(largeTypes([]goFile{parse(t, "p/p.go", code)})); got != extra {
				t.Errorf("%d times %q: %d offences, want %d", count+extra, format, got, extra)
			}
		}
	}
}

func parse(t *testing.T, path, code string) goFile {
	t.Helper()
	f := goFile{path: path, text: []byte(code), fset: token.NewFileSet()}
	var err error
	if f.ast, err = parser.ParseFile(f.fset, path, code, parser.ParseComments); err != nil {
		t.Fatal(err)
	}
	return f
}
