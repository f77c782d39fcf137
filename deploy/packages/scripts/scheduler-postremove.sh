#!/bin/sh
# After the package's files have gone. The cluster's key stays, for whoever
# installs it again, until dpkg purges (rpm knows no such thing).
set -e
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
fi
if [ "${1:-}" = purge ]; then
	# A unit with a dynamic user has its folder in "private", and a link to it.
	rm -rf /var/lib/private/p2pd-scheduler /var/lib/p2pd-scheduler
	rmdir --ignore-fail-on-non-empty /etc/p2pd 2>/dev/null || true
fi
