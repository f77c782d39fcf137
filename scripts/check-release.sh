#!/usr/bin/env bash
# Fails unless the chart and the change log are of the version that is to be
# released: check-release.sh 0.1.0
set -euo pipefail
cd "$(dirname "$0")/.."
version=${1:?usage: check-release.sh VERSION, for instance check-release.sh 0.1.0}
for key in version appVersion; do
  grep -qE "^$key: \"?$version\"?\$" deploy/helm/p2pd/Chart.yaml || { echo "deploy/helm/p2pd/Chart.yaml: $key is not $version" >&2; exit 1; }
done
grep -qE "^## $version( |\$)" CHANGELOG.md || { echo "CHANGELOG.md has no section \"## $version\": name the one that is not released yet so" >&2; exit 1; }
# What this version must work together with is the release before it.
if before=$(git describe --tags --abbrev=0 --match 'v[0-9]*' HEAD^ 2>/dev/null); then
  grep -qx "$(git rev-parse "$before^{commit}")" e2e/previous || { echo "e2e/previous does not name $before: write $(git rev-parse "$before^{commit}") there, and see 'make e2e' pass" >&2; exit 1; }
fi
