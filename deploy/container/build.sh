#!/bin/sh
# make image: builds the image with buildah from a Debian that mmdebstrap makes, and boots each process of it as its user
# (10001) on a root file system that is read-only. Where there is Docker or podman with a registry in reach, this needs no
# script: docker build -f deploy/container/Containerfile -t kawaii .
set -eu
cd "$(dirname "$0")/../.."
IMAGE=${IMAGE:-localhost/kawaii}
BASE=${BASE:-localhost/kawaii-base}
BASE_PORT=${INTERNAL_PORT_BASE:-52050} # of the processes that are tried, on this machine's loopback
READY_SECONDS=60

skip() {
  echo "SKIPPED: make image: $1"
  exit 0
}
[ "$(uname)" = Linux ] || skip "it needs Linux"
[ "$(id -u)" = 0 ] || skip "only root can mount the image's file system"
for tool in buildah mmdebstrap curl unshare; do
  command -v "$tool" >/dev/null || skip "$tool is not installed (apt-get install buildah mmdebstrap curl util-linux)"
done

if ! buildah inspect --type image "$BASE" >/dev/null 2>&1; then
  echo "Making a base of Debian with Python."
  mkdir -p .build
  mmdebstrap --quiet --variant=minbase --include=python3,python3-venv,ca-certificates \
    --customize-hook='copy-in /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs' bookworm .build/base.tar
  container=$(buildah from scratch)
  buildah add --quiet "$container" .build/base.tar / >/dev/null
  buildah commit --quiet --rm "$container" "$BASE" >/dev/null
  rm .build/base.tar
fi

echo "Building $IMAGE."
buildah bud --layers --isolation chroot --quiet --file deploy/container/Containerfile --build-arg "BASE=$BASE" \
  --build-arg "REVISION=$(git rev-parse HEAD 2>/dev/null || echo unknown)" --tag "$IMAGE" . >/dev/null

container=$(buildah from "$IMAGE")
root=$(buildah mount "$container")
trap 'buildah rm "$container" >/dev/null' EXIT
echo "Ours: $(du -sm "$root/opt/kawaii" | cut -f1) MB, with the base $(du -smx "$root" | cut -f1) MB."

# In namespaces of its own, so that nothing that it mounts or leaves behind outlives it.
unshare --mount --mount-proc --pid --fork --kill-child sh -eu -s "$root" "$BASE_PORT" "$READY_SECONDS" <<'BOOT'
root=$1 base=$2 seconds=$3
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -o bind /dev "$root/dev"
mount -t tmpfs -o uid=10001,gid=10001,mode=0700 tmpfs "$root/data"
mount -o remount,ro,bind "$root"
by= # exec for who has to be the process itself
inside() {
  $by chroot --userspec=10001:10001 "$root" env -i PATH=/opt/kawaii/bin:/usr/local/bin:/usr/bin:/bin DATA_DIR=/data \
    PYTHONOPTIMIZE=2 PYTHONDONTWRITEBYTECODE=1 INTERNAL_PORT_BASE="$base" KIE_AI_API_KEY=none \
    KIE_AI_BASE_URL="http://127.0.0.1:$((base + 6))" REDIS_URL=none LOG_LEVEL=error "$@"
}
[ "$(inside id -u)" = 10001 ]
if inside touch /opt/kawaii/written 2>/dev/null; then
  echo "The root file system can be written." >&2
  exit 1
fi
inside kawaii migrate >/dev/null
for process in sandbox:6/healthz storage:12/readyz share:13/readyz generation:11/readyz community:14/readyz gateway:10/readyz; do
  name=${process%%:*} place=${process#*:}
  (by=exec && inside kawaii serve "$name") &
  pid=$!
  url=http://127.0.0.1:$((base + ${place%%/*}))/${place#*/}
  until answer=$(curl -fsS --max-time 2 "$url" 2>/dev/null); do
    kill -0 "$pid" 2>/dev/null || { echo "$name ended." >&2; exit 1; }
    seconds=$((seconds - 1))
    [ "$seconds" -gt 0 ] || { echo "$name is not ready." >&2; exit 1; }
    sleep 1
  done
  user=$(awk '/^Uid:/ { print $2 }' "/proc/$pid/status")
  [ "$user" = 10001 ] || { echo "$name runs as user $user." >&2; exit 1; }
  kill -0 "$pid" || { echo "$name ended." >&2; exit 1; } # whoever answered was another
  echo "$name: $answer, as user $user."
done
BOOT
echo "Every process boots as a user of its own on a root file system that is read-only."
