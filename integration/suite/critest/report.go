// SPDX-License-Identifier: Apache-2.0

package critest

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

// Spec is an entry of ginkgo's JSON report. Fields have ginkgo's names.
type Spec struct {
	ContainerHierarchyTexts    []string
	LeafNodeText               string
	LeafNodeType               string
	State                      string
	CapturedGinkgoWriterOutput string
	Failure                    struct{ Message string }
}

// Group returns the outermost container of the spec, such as "Image Manager".
func (s Spec) Group() string {
	if len(s.ContainerHierarchyTexts) == 0 {
		return s.LeafNodeType
	}
	return strings.TrimPrefix(s.ContainerHierarchyTexts[0], "[k8s.io] ")
}

// Name returns the spec's full name without its group.
func (s Spec) Name() string {
	if len(s.ContainerHierarchyTexts) == 0 {
		return s.LeafNodeText
	}
	return strings.Join(append(s.ContainerHierarchyTexts[1:], s.LeafNodeText), " ")
}

// Counts are the numbers of one group or of the suite.
type Counts struct{ Passed, Failed, Skipped int }

func (c *Counts) add(state string) {
	switch state {
	case "passed":
		c.Passed++
	case "skipped", "pending":
		c.Skipped++
	default:
		c.Failed++
	}
}

func (c Counts) String() string {
	return fmt.Sprintf("%d passed, %d failed, %d skipped", c.Passed, c.Failed, c.Skipped)
}

// readReport returns the specs of a report, and failures outside of specs, such as in the setup of
// the suite.
func readReport(file string) ([]Spec, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var suites []struct{ SpecReports []Spec }
	if err := json.Unmarshal(text, &suites); err != nil {
		return nil, fmt.Errorf("critest's report: %w", err)
	}
	var specs []Spec
	for _, suite := range suites {
		for _, spec := range suite.SpecReports {
			if spec.LeafNodeType == "It" || spec.State == "failed" {
				specs = append(specs, spec)
			}
		}
	}
	return specs, nil
}
