#!/usr/bin/env bash
# Builds the image with buildah on a Debian without a container engine, from Debian's own packages alone.
# It needs root, buildah and mmdebstrap. Usage: docker/build-without-engine.sh [TAG]
#
# The Dockerfile's base image is looked for in a registry. Where none is reached, BASE=debian makes one of that name from
# Debian bookworm, which has the same Python 3.11: close to the real one, not the same.
set -euo pipefail
cd "$(dirname "$0")/.."
tag=${1:-evergreen:local}
name=$(sed -n 's/^FROM \([^ ]*\).*/\1/p' Dockerfile | head -1)
export BUILDAH_ISOLATION=chroot
pull=--pull
if [ "${BASE:-registry}" = debian ]; then
  root=$(mktemp -d)
  trap 'rm -rf "$root"' EXIT
  mmdebstrap --variant=apt --include=python3,python3-venv,python3-pip,python-is-python3,ca-certificates \
    bookworm "$root/base.tar"
  container=$(buildah from scratch)
  buildah add -q "$container" "$root/base.tar" /
  buildah config --env PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin "$container"
  buildah commit -q --rm "$container" "docker.io/library/$name"
  pull=--pull-never
fi
# Names and certificates are this machine's: its index may stand behind a proxy with a certificate of its own.
buildah bud "$pull" --network host --layers=false \
  --volume /etc/resolv.conf:/etc/resolv.conf:ro --volume /etc/ssl/certs:/etc/ssl/certs:ro -t "$tag" .
buildah images "$tag"
