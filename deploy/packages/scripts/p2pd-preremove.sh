#!/bin/sh
# Before the package's files go. First container runtimes are told, by the
# program that will be gone, then p2pd ends; so no pull fails in between.
set -e
case "${1:-}" in
remove | 0) ;; # dpkg, rpm
*) exit 0 ;;   # an upgrade
esac
for runtime in containerd podman docker; do
	# With p2pd's own configuration, for the mirror's address; and if that is not
	# good any more, without.
	p2pd restore --runtime "$runtime" --config /etc/p2pd/p2pd.yaml >/dev/null 2>&1 && continue
	p2pd restore --runtime "$runtime" >/dev/null && continue
	echo "p2pd: $runtime may still ask p2pd, which is being removed: see the lines between p2pd's markers in its configuration" >&2
done
if [ -d /run/systemd/system ]; then
	systemctl --no-reload disable --now p2pd.service
elif command -v systemctl >/dev/null; then
	systemctl --no-reload disable p2pd.service
fi
