#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The guest runs this script after boot. It runs the payload's program with its output on a port of the virtual machine,
# or on the console for a user; then it sends the logs that suites save, and the exit code, and powers off.

console=/dev/ttyS0
ports=/dev/virtio-ports

export PATH=/payload/checkout/bin:/payload/checkout/.tools/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

if [ -e $ports/output ]; then
	/payload/start </dev/null >$ports/output 2>&1
else
	setsid --ctty --wait /payload/start <$console >$console 2>&1
fi
code=$?

if [ -d /payload/checkout/.tools/logs ]; then
	tar -C /payload/checkout/.tools -c logs >$ports/logs
fi
echo "exit $code" >$ports/result
systemctl poweroff
