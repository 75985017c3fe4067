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

// portmapChain is the name prefix of the chains that portmap creates once and never deletes.
const portmapChain = "CNI-HOSTPORT-"

// savedRules returns the rules and the user-defined chains of every table, as `-A` and `-N` lines
// that begin with the table's name. It leaves out empty tables and built-in chains: merely listing
// rules can create them.
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
// portmap's own if before does not have them. If before is nil, portmap's own are kept.
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
		return fmt.Errorf("%s: remove rules of the bench: %w: %s", command, err, out)
	}
	return nil
}

// names reports whether a rule has the comment with which CNI plugins mark the rules of this
// network.
func (n *Network) names(rule string) bool {
	return strings.Contains(rule, `name: \"`+n.Bridge+`\"`)
}

// podChains returns the chains that CNI plugins created for the pods of this network: those that
// rules with the network's name jump to or belong to.
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
