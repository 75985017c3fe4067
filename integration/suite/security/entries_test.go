// SPDX-License-Identifier: Apache-2.0

package security

import "slices"

// entry is a published vulnerability or a known weakness of container runtimes. IDs with C are
// vulnerabilities of containerd, O of CRI-O and its libraries, M general topics of every runtime, W
// weaknesses of existing runtimes.
type entry struct {
	id   string
	what string // advisories and a short description
	// attack is the test, TestSecurity/<id>.
	attack func(*attack)
	// same is the ID of the entry whose attack covers this one, too.
	same string
	// reason is why there is no attack: the code is not ours, or it is no attack.
	reason string
	// open describes an open weakness of containerd-lite: the attack succeeds and must be fixed.
	open string
	// stock is the effect of the attack on stock containerd 2.4.2; "" means none.
	stock string
}

// entries returns all entries, in the order of docs/security.md.
func entries() []entry {
	return slices.Concat(containerdEntries(), crioEntries(), runcEntries(), topicEntries())
}

// containerdEntries are those of containerd and its CRI.
func containerdEntries() []entry {
	return []entry{
		{
			id: "C01", what: "CVE-2020-15157: foreign layers, redirects and credentials", attack: c01,
			stock: "sends the password to the target of a redirect",
		},
		{id: "C02", what: "CVE-2020-15257: abstract sockets of shims", attack: c02},
		{id: "C03", what: "CVE-2021-21334: environment of another container", attack: c03},
		{id: "C04", what: "CVE-2021-32760: files changed through links of layers", attack: c04},
		{id: "C05", what: "CVE-2021-41190: index and manifest in one document", attack: c05},
		{id: "C06", what: "CVE-2021-41103, CVE-2024-25621: directories open to other users", attack: c06},
		{id: "C07", what: "CVE-2021-43816: files of the host relabelled by a mount", attack: c07},
		{id: "C08", what: "CVE-2022-23648: image volumes with files of the host", attack: c08},
		{id: "C09", what: "CVE-2022-24769: inheritable capabilities", attack: c09},
		{id: "C10", what: "CVE-2022-31030: unlimited output of ExecSync", attack: c10, stock: "64 callers cost 320 MiB"},
		{id: "C11", what: "CVE-2022-23471: terminals of commands that fail", attack: c11},
		{id: "C12", what: "CVE-2025-64329: attached clients that disconnect", attack: c12},
		{
			id: "C13", what: "CVE-2026-53495: children that keep the streams of ExecSync open", attack: c13,
			stock: "waits for the child until the caller gives up",
		},
		{id: "C14", what: "CVE-2023-25153: manifests read into memory whole", attack: c14},
		{id: "C15", what: "CVE-2023-25173: primary group missing among the groups", attack: c15},
		{
			id: "C16", what: "GHSA-7ww5-4wqc-m92c: power, interrupts and other side channels readable", attack: c16,
			stock: "masks nothing when the request names no paths",
		},
		{
			id: "C17", what: "CVE-2024-40635, CVE-2026-46680: user names that become root", attack: c17,
			stock: "accepts +0, 0x0 and \"1000 \" as user names, which the image's /etc/passwd may map to root",
		},
		{
			id: "C18", what: "CVE-2026-47262: huge /etc/passwd and /etc/group", attack: c18,
			stock: "hangs on a FIFO in place of /etc/passwd",
		},
		{id: "C19", what: "CVE-2025-47290: directories and links swapped while layers are unpacked", attack: c19},
		{id: "C20", what: "CVE-2025-47291: limits lost with user namespaces", attack: c20},
		{
			id: "C21", what: "CVE-2026-53488: image labels that containerd acts on", attack: c21,
			stock: "runs a command as root on the host, through labels in a request",
		},
		{id: "C22", what: "CVE-2026-50195: image of a checkpoint replaces another image's name", attack: c22},
		{id: "C23", what: "CVE-2026-53489: links in archives of checkpoints", attack: c23},
		{id: "C24", what: "CVE-2026-53492: CDI devices named by checkpoints", attack: c24},
		{id: "C25", what: "CVE-2026-53493: unbounded graphs of descriptors", attack: c25},
		{
			id: "C26", what: "CVE-2026-95839, GHSA-8647-2jxj-p2rc, GHSA-hc94-p972-ch66: false sizes, digests and references", attack: c26,
		},
		{id: "C27", what: "GHSA-5p7c-hggf-c748: owners of layer files set by annotations", attack: c27},
		{id: "C28", what: "GHSA-rp3h-jf77-q9p4: opaque whiteouts in quadratic time", attack: c28},
		{id: "C29", what: "CVE-2026-35469: SPDY frames with a false, large size", attack: c29},
		{
			id: "C30", what: "log paths (2.4.2, CRI-O's CVE-2025-0750): a link or a special file in place of a log", attack: c30,
			stock: "hangs on a FIFO, and creates the log at the target of a link",
		},
		{id: "C31", what: "kubernetes#126608: upgrades that the client abandons", attack: c31},
	}
}

// crioEntries are those of CRI-O, conmon and containers/….
func crioEntries() []entry {
	return []entry{
		{id: "O01", what: "CVE-2019-14891: the monitor shares the container's memory limit", attack: o01},
		{
			id: "O02", what: "CVE-2022-0811: a sysctl in the value of another", attack: o02,
			stock: "accepts one sysctl in two spellings",
		},
		{id: "O03", what: "CVE-2022-0532: sysctls of the host's namespaces", attack: o03},
		{id: "O04", what: "CVE-2022-1708: output of ExecSync on disk and in memory", same: "C10"},
		{id: "O05", what: "CVE-2022-27652, CVE-2022-3466: inheritable capabilities", same: "C09"},
		{id: "O06", what: "CVE-2022-2995: supplementary groups", same: "C15"},
		{
			id: "O07", what: "CVE-2022-4318, CVE-2026-15809: lines added to files of the pod", attack: o07,
			stock: "accepts NULs and newlines in names and values",
		},
		{id: "O08", what: "CVE-2023-6476: limits changed by annotations", same: "O09"},
		{id: "O09", what: "CVE-2024-3154: annotations that runtimes act on", attack: o09},
		{id: "O10", what: "CVE-2024-5154: files created through links of the image", attack: o10},
		{id: "O11", what: "CVE-2024-8676: mounts of checkpoints", attack: o11},
		{id: "O12", what: "CVE-2025-0750: log paths with ..", attack: o12},
		{id: "O13", what: "CVE-2025-4437: the whole /etc/passwd read", same: "C18"},
		{id: "O14", what: "CVE-2025-58183: unbounded maps of sparse files", attack: o14},
		{id: "O15", what: "CVE-2020-1702: huge manifests", same: "C14"},
		{id: "O16", what: "CVE-2021-20291: corrupt compressed layers", attack: o16},
		{id: "O17", what: "CVE-2024-3727: digests that are paths", attack: o17},
		{id: "O18", what: "CVE-2024-9341: mounts over links of the image", attack: o18},
		{
			id: "O19", what: "CVE-2024-9676: /etc/passwd and /etc/group, with a user namespace", attack: o19,
			stock: "hangs on a FIFO in place of /etc/passwd",
		},
		{
			id: "O20", what: "CVE-2019-10214: credentials without TLS", attack: o20,
			stock: "sends the password in clear text",
		},
		{id: "O21", what: "CVE-2018-1000400: ambient capabilities", same: "C09"},
	}
}

// runcEntries are those of runc and of other programs and libraries.
func runcEntries() []entry {
	return []entry{
		{id: "CVE-2019-5736", what: "the runtime overwritten through /proc/self/exe", attack: cve20195736},
		{
			id: "CVE-2019-16884", what: "also CVE-2019-19921, CVE-2023-27561, CVE-2023-28642: volumes and links at /proc", attack: cve201916884,
			stock: "accepts /proc and / as volumes",
		},
		{
			id: "CVE-2021-30465", what: "directory and link exchanged during a mount",
			reason: "a race inside runc, fixed in 1.0.0-rc95; only runc creates the container's mounts",
		},
		{
			id: "CVE-2021-43784", what: "strings that overflow a netlink message of runc", attack: cve202143784,
			stock: "accepts strings of 70 KiB; the runtime refuses them",
		},
		{id: "CVE-2022-29162", what: "inheritable capabilities of execs", same: "C09"},
		{id: "CVE-2023-25809", what: "writable cgroups with user namespaces", attack: cve202325809},
		{
			id: "CVE-2024-21626", what: "leaked file descriptors and working directories", attack: cve202421626,
			stock: "accepts the directory; the runtime refuses it",
		},
		{
			id: "CVE-2024-45310", what: "empty files created on the host during a mount",
			reason: "a race inside runc, fixed in 1.2.0-rc3; only runc creates the destinations of mounts",
		},
		{
			id: "CVE-2025-31133", what: "also CVE-2025-52565, CVE-2025-52881: masks replaced by links; here: masks removed by the request",
			attack: cve202531133,
			stock:  "masks nothing when the request names no paths",
		},
		{id: "CVE-2026-41579", what: "/dev of the image is a link", attack: cve202641579},
		{id: "CVE-2021-20206", what: "CNI plugins that are paths", attack: cve202120206},
		{
			id: "CVE-2020-10749", what: "pods that accept any IPv6 router",
			reason: "the CNI plugin configures the interface; some networks configure their pods by router advertisements",
		},
		{
			id: "CVE-2019-9946", what: "order of portmap's rules", reason: "in the CNI plugin portmap, which is not part of containerd-lite",
		},
		{
			id: "CVE-2025-67499", what: "portmap with nftables captures foreign traffic",
			reason: "in the CNI plugin portmap, which is not part of containerd-lite",
		},
		{id: "CVE-2023-2431", what: "a seccomp profile without a name", attack: cve20232431},
		{id: "CVE-2020-8557", what: "files of the pod fill the host", attack: cve20208557},
		{
			id: "CVE-2024-0132", what: "also CVE-2025-23266: hooks run with the container's environment", attack: hookEnvironment,
		},
		{id: "CVE-2022-24778", what: "keys of encrypted images not checked", reason: "encrypted images are not supported"},
		{
			id: "DEPS", what: "go-jose CVE-2026-34986, grpc-go CVE-2026-33186, otel CVE-2026-24051, Go CVE-2026-27142",
			reason: "in dependencies: govulncheck, which needs the network, runs at each release",
		},
	}
}

// topicEntries are topics and weaknesses without a CVE number.
func topicEntries() []entry {
	return []entry{
		{id: "M01", what: "sockets of the daemon: modes, addresses", attack: m01},
		{
			id: "M02", what: "namespaces of the host and of other pods; mappings of user IDs", attack: m02,
			stock: "maps root of the host into a user namespace",
		},
		{id: "M03", what: "sysctls", same: "O02"},
		{id: "M04", what: "annotations without a size limit", attack: m04, stock: "accepts annotations of 10 MiB"},
		{id: "M05", what: "checkpoints to any place", attack: m05},
		{
			id: "M06", what: "invalid ports, and ports of the host", attack: m06,
			stock: "returns URLs for invalid ports",
		},
		{id: "M07", what: "masked and read-only paths", same: "C16"},
		{
			id: "M08", what: "bombs: configs, holes, names, layers without diff IDs", attack: m08,
			stock: "reads a config of 100 MiB into memory",
		},
		{
			id: "M08-layers", what: "bombs: more layers than can be mounted", attack: m08Layers,
			stock: "unpacks 1000 layers, and cannot mount them",
		},
		{id: "M09", what: "seccomp profiles", attack: m09, stock: "reads /dev/zero without limit if the profile names it"},
		{id: "M10", what: "credentials in errors and logs", attack: m10, stock: "logs secrets at debug level"},
		{id: "M11", what: "URLs of the streaming server", attack: m11, stock: "logs tokens of URLs"},
		{id: "M12", what: "duplicate variables, and values that are not UTF-8", attack: m12},
		{id: "M13", what: "invalid devices", attack: m13, stock: "accepts a FIFO as a device"},
		{id: "M14", what: "propagation and options of mounts", attack: m14, stock: "maps a mount to root"},
		{id: "M15", what: "a tag that moves to another image", attack: m15},
		{id: "W01", what: "a subscriber that does not read events", attack: w01},
		{
			id: "W02", what: "the directory of a pod's logs is a link", attack: w02,
			stock: "writes the log to the target of the link",
		},
		{id: "W03", what: "a shim that does not answer", attack: w03},
		{
			id: "W04", what: "containers stopped one after the other, and the network only after them",
			reason: "no attack but a fault: integration/suite/stop TestStop, plugin/pod TestNetworkDoesNotWaitForTheTask",
		},
		{
			id: "W05", what: "two pods with one name block recovery",
			reason: "no attack but a fault: integration/suite/restart TestRestart, plugin/pod TestRecoverReleasesStrays",
		},
		{
			id: "W06", what: "leases and namespaces that a crash leaks",
			reason: "no attack but a fault: integration/suite/restart TestRestart, integration/suite/service TestPowerCut",
		},
		{
			id: "W07", what: "a task that cannot be deleted delays the exited state",
			reason: "no attack but a fault: plugin/container TestStopGoesOnWithoutItsCaller",
		},
		{
			id: "W08", what: "containers wait for a daemon that reads their output", reason: "no attack but a fault: integration/suite/log TestLog",
		},
		{
			id: "W09", what: "a corrupt database crashes the daemon", reason: "the database is containerd's own; only root can access its file: C06",
		},
		{
			id: "W10", what: "CNI plugins without a time limit", reason: "no attack but a fault: plugin/network has a limit for each call",
		},
		{id: "W11", what: "out of memory not reported", same: "O01"},
		{
			id: "W12", what: "a pull of one byte a second",
			reason: "any byte counts as progress, as in the built-in CRI: the kubelet's limit of parallel pulls bounds the damage",
		},
	}
}
