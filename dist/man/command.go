// SPDX-License-Identifier: Apache-2.0

package main

import (
	"flag"
	"fmt"
	"strings"

	"github.com/urfave/cli/v3"
)

// item returns a term and its meaning as an entry of a Markdown definition list.
func item(term, meaning string) string {
	return fmt.Sprintf("%s\n: %s\n\n", term, meaning)
}

// options returns a list of a command's flags, with prefix before each.
func options(flags []cli.Flag, prefix string) string {
	var text strings.Builder
	for _, f := range flags {
		var names []string
		for _, name := range f.Names() {
			names = append(names, "**"+strings.Repeat("-", min(len(name), 2))+name+"**")
		}
		term, meaning := prefix+strings.Join(names, ", "), ""
		if doc, ok := f.(cli.DocGenerationFlag); ok {
			meaning = escape(doc.GetUsage())
			if doc.TakesValue() {
				term += " *VALUE*"
			}
			if value := doc.GetValue(); value != "" && doc.TakesValue() {
				meaning += ". The default is " + escape(value)
			}
		}
		text.WriteString(item(term, meaning+"."))
	}
	return text.String()
}

// commands returns a list of the commands below cmd. path has the words before them.
func commands(cmd *cli.Command, path string) string {
	var text strings.Builder
	for _, sub := range cmd.VisibleCommands() {
		if sub.Name == "help" {
			continue
		}
		words := path + sub.Name
		if len(sub.Commands) == 0 {
			term := "**" + words + "** "
			text.WriteString(item(term+escape(sub.ArgsUsage), escape(strings.TrimSuffix(sub.Usage, "."))+"."))
			text.WriteString(options(sub.VisibleFlags(), term))
		}
		text.WriteString(commands(sub, words+" "))
	}
	return text.String()
}

// flags returns a list of the shim's flags.
func flags(set *flag.FlagSet) string {
	var text strings.Builder
	set.VisitAll(func(f *flag.Flag) {
		value, usage := flag.UnquoteUsage(f)
		if value != "" {
			value = " *" + strings.ToUpper(value) + "*"
		}
		text.WriteString(item("**-"+f.Name+"**"+value, escape(usage)+"."))
	})
	return text.String()
}

// escape escapes the special characters of Markdown.
func escape(text string) string {
	return strings.NewReplacer(`\`, `\\`, "<", `\<`, "*", `\*`, "_", `\_`, "`", "\\`", "[", `\[`).Replace(text)
}
