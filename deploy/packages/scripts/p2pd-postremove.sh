#!/bin/sh
# After the package's files have gone. Blobs and the node's identity stay, for
# whoever installs it again, until dpkg purges (rpm knows no such thing).
set -e
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
fi
if [ "${1:-}" = purge ]; then
	rm -rf /var/lib/p2pd /etc/p2pd/token
	rmdir --ignore-fail-on-non-empty /etc/p2pd 2>/dev/null || true
fi
