// SPDX-License-Identifier: Apache-2.0

// Man writes the man pages and the shell completions: `man DIRECTORY`, run from the root of the
// repository.
//
// A page is a Markdown template beside this file. Generated parts are inserted into it: the options
// and commands of the command lines (command.go), and the keys of config.toml with their defaults
// and doc comments (keys.go). The command imports the packages of the two programs and reads the
// sources of plugin/config; it has no state.
package main

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"text/template"

	"github.com/cpuguy83/go-md2man/v2/md2man"

	"github.com/containerd-lite/containerd-lite/cmd/containerd-lite/daemon"
	"github.com/containerd-lite/containerd-lite/shim"
)

//go:embed *.md
var pages embed.FS

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: man DIRECTORY")
		os.Exit(2)
	}
	if err := write(context.Background(), os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func write(ctx context.Context, dir string) error {
	docs, err := readDocs("plugin/config")
	if err != nil {
		return err
	}
	texts, err := template.New("").Funcs(template.FuncMap{
		"options":  func() string { return options(daemon.Command().VisibleFlags(), "") },
		"commands": func() string { return commands(daemon.Command(), "") },
		"shim":     func() string { return flags(shim.Flags()) },
		"keys":     docs.keys,
	}).ParseFS(pages, "*.md")
	if err != nil {
		return err
	}
	for _, text := range texts.Templates() {
		if err := writePage(dir, text); err != nil {
			return fmt.Errorf("man page %s: %w", text.Name(), err)
		}
	}
	return writeCompletions(ctx, dir)
}

// writePage writes man8/name.8 from the template name.8.md.
func writePage(dir string, text *template.Template) error {
	var markdown bytes.Buffer
	if err := text.Execute(&markdown, nil); err != nil {
		return err
	}
	name := strings.TrimSuffix(text.Name(), ".md")
	section := strings.TrimPrefix(filepath.Ext(name), ".")
	// Without hyphenation and adjustment: names of keys and options are not broken at a hyphen, and
	// lines with long names have no wide gaps.
	page := regexp.MustCompile(`(?m)^\.TH .*\n`).ReplaceAll(md2man.Render(markdown.Bytes()), []byte("$0.nh\n.ad l\n"))
	return writeFile(filepath.Join(dir, "man", "man"+section, name), page)
}

// writeCompletions writes the completions that containerd-lite generates.
func writeCompletions(ctx context.Context, dir string) error {
	var failed []error
	for shell, path := range map[string]string{
		"bash": "bash-completion/completions/containerd-lite",
		"zsh":  "zsh/site-functions/_containerd-lite",
		"fish": "fish/vendor_completions.d/containerd-lite.fish",
	} {
		var script bytes.Buffer
		cmd := daemon.Command()
		cmd.Writer = &script
		err := cmd.Run(ctx, []string{cmd.Name, "completion", shell})
		failed = append(failed, err, writeFile(filepath.Join(dir, path), script.Bytes()))
	}
	return errors.Join(failed...)
}

func writeFile(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o644)
}
