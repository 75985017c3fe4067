// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
)

// iptables are the commands whose rules CNI plugins change.
var iptables = [...]string{"iptables", "ip6tables"}

// portmapChain begins the names of the chains that portmap makes once and never deletes.
const portmapChain = "CNI-HOSTPORT-"

// savedRules returns the rules and the chains of users in every table, as `-A` and `-N` lines that
// begin with the table's name. Empty tables and built-in chains are nothing: merely listing rules
// can make them.
func savedRules(command string) ([]string, error) {
	out, err := exec.Command(command + "-save").Output()
	if errors.Is(err, exec.ErrNotFound) {
		return []string{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s-save: %w", command, err)
	}
	rules := []string{}
	table := ""
	for line := range strings.Lines(string(out)) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "*"):
			table = line[1:]
		case strings.HasPrefix(line, "-A "):
			rules = append(rules, table+" "+line)
		case strings.HasPrefix(line, ":") && strings.Contains(line, " - "):
			chain, _, _ := strings.Cut(line[1:], " ")
			rules = append(rules, table+" -N "+chain)
		}
	}
	return rules, nil
}

// removeRules removes the bench's rules and chains of the nat table: those of its pods, and
// portmap's own that were not there before. Where nobody knows what was there before, portmap's own
// stay.
func (n *Network) removeRules(command string, before []string) error {
	now, err := savedRules(command)
	if err != nil {
		return err
	}
	chains := n.podChains(now)
	rules, empty := "", ""
	for _, rule := range now {
		rest, nat := strings.CutPrefix(rule, "nat ")
		fields := strings.Fields(rest)
		ofPod := n.names(rest) || nat && slices.Contains(chains, fields[1])
		ofPortmap := strings.Contains(rest, portmapChain) && before != nil && !slices.Contains(before, rule)
		switch {
		case !nat || !ofPod && !ofPortmap:
		case fields[0] == "-N":
			empty += "-X " + fields[1] + "\n"
		default:
			rules += "-D " + strings.TrimPrefix(rest, "-A ") + "\n"
		}
	}
	if rules == "" && empty == "" {
		return nil
	}
	restore := exec.Command(command+"-restore", "--noflush")
	restore.Stdin = bytes.NewBufferString("*nat\n" + rules + empty + "COMMIT\n")
	if out, err := restore.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: remove the rules of the bench: %w: %s", command, err, out)
	}
	return nil
}

// names says whether a rule has the comment by which CNI plugins mark those of a network.
func (n *Network) names(rule string) bool {
	return strings.Contains(rule, `name: \"`+n.Bridge+`\"`)
}

// podChains returns the chains that CNI plugins made for the pods of this network: rules with the
// network's name lead to them or stand in them.
func (n *Network) podChains(rules []string) []string {
	var chains []string
	for _, rule := range rules {
		if !n.names(rule) {
			continue
		}
		for field := range strings.FieldsSeq(rule) {
			if strings.HasPrefix(field, "CNI-") && !strings.HasPrefix(field, portmapChain) {
				chains = append(chains, field)
			}
		}
	}
	return chains
}
