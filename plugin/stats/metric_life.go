// SPDX-License-Identifier: Apache-2.0

package stats

import "time"

// lifeMetrics are the times when a container or pod was created, started and last seen.
var lifeMetrics = []metric{
	gauge("container_last_seen", "Last time a container was seen by the exporter",
		func(*subject) num { return value(uint64(time.Now().Unix())) }),
	gauge("container_creation_time_seconds", "Container creation time since unix epoch in seconds.",
		func(s *subject) num { return seconds(value(uint64(s.created))) }),
	gauge("container_start_time_seconds", "Start time of the container since unix epoch in seconds.",
		func(s *subject) num { return seconds(value(uint64(s.started))) }),
}
