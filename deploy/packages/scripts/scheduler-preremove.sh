#!/bin/sh
# Before the package's files go.
set -e
case "${1:-}" in
remove | 0) ;; # dpkg, rpm
*) exit 0 ;;   # an upgrade
esac
if [ -d /run/systemd/system ]; then
	systemctl --no-reload disable --now p2pd-scheduler.service
elif command -v systemctl >/dev/null; then
	systemctl --no-reload disable p2pd-scheduler.service
fi
