#!/bin/sh
# After the package's files are in place. Nothing is started that did not run. An
# upgrade starts anew what runs; running pulls go on without a scheduler.
set -e
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
	systemctl try-restart p2pd-scheduler.service
fi
if [ ! -e /var/lib/p2pd-scheduler ]; then
	echo "p2pd-scheduler: see /etc/p2pd/scheduler.yaml, then 'systemctl enable --now p2pd-scheduler'"
fi
