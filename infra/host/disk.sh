#!/bin/sh
# Mounts the data disk. A blank one is formatted; one that holds anything else than ours is left alone.
set -eu
# shellcheck disable=SC1091
. "$(dirname "$0")/common.sh"

device=${DEVICE:-/dev/disk/by-id/google-telemetry-data}
mounts=${MOUNTS:-/proc/mounts}

fail() { say "$*"; exit 1; }

tries=0
until [ -e "$device" ]; do
    tries=$((tries + 1))
    [ "$tries" -le "${DEVICE_SECONDS:-60}" ] || fail "the data disk is not attached: $device is not there."
    sleep 1
done

mkdir -p "$DISK"
if ! grep -q " $DISK " "$mounts"; then
    type=$(blkid -o value -s TYPE "$device") || type=
    if [ -z "$type" ] && [ -z "$(blkid "$device" || true)" ] \
        && [ "$(head -c 1048576 "$device" | tr -d '\0' | wc -c)" -eq 0 ] \
        && [ "$(head -c 1048576 "$device" | wc -c)" -eq 1048576 ]; then
        say "the data disk is blank: it is formatted."
        mkfs.ext4 -q -m 0 -L telemetry-data "$device"
    elif [ "$type" = ext4 ]; then
        # 1 means: mended.
        fsck.ext4 -p "$device" >&2 || [ $? -le 1 ] || fail "the data disk needs a look: fsck.ext4 $device"
    else
        fail "the data disk is neither blank nor ext4 (${type:-no file system, yet not empty}): it is not touched. Look at $device."
    fi
    mount -t ext4 -o noatime,nosuid,nodev "$device" "$DISK"
    # A disk that has grown.
    resize2fs "$device" >&2 || say "the file system could not be grown to the size of the disk."
fi

for folder in clickhouse clickhouse/user_files clickhouse/user_files/edge queue caddy edge-log oidc; do
    # Services write there; what one of them leads elsewhere is not given away.
    [ ! -L "$DISK/$folder" ] || fail "$DISK/$folder is a link, and must be a folder."
    [ -d "$DISK/$folder" ] || mkdir -p "$DISK/$folder"
    chown "$OWNER:$OWNER" "$DISK/$folder"
    chmod 0750 "$DISK/$folder"
done
