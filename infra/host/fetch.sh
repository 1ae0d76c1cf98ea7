#!/bin/sh
# Every twenty seconds: fetches the bundle and the secrets, and lets the bundle's apply.sh do the rest.
# What cannot be had stays as it was, and apply.sh runs all the same: hashes of passwords end by time.
#
# Nothing secret stands in a command line or outside of memory.
set -eu
umask 077
# shellcheck disable=SC1091
. "$(dirname "$0")/common.sh"
: "${PROJECT:?}" "${BUCKET:?}" "${BUNDLE:?}"

mkdir -p "$RUN"
work=$(mktemp -d "$RUN/fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT

# Asks for the whole only where it is another one than the last.
fetch_bundle() {
    code=$(get "$STORAGE/storage/v1/b/$BUCKET/o/$BUNDLE?alt=media" "$work/bundle" -H "@$work/header" \
        --etag-compare "$RUN/bundle.etag" --etag-save "$work/etag")
    case "$code" in
        200) ;;
        304) settled bundle; return ;;
        404) say_once bundle "there is no configuration yet: run \`pulumi up -s cloud\`."; return ;;
        *) say_once bundle "the configuration cannot be fetched ($code); the last one stays."; return ;;
    esac
    mkdir "$work/unpacked"
    if ! { base64 -d "$work/bundle" | gzip -d | tar -x -C "$work/unpacked"; } 2> /dev/null \
        || ! (cd "$work/unpacked" && sha256sum -c --status MANIFEST) 2> /dev/null; then
        say_once bundle "the configuration did not arrive whole; the last one stays."
        return
    fi
    rm -rf "$RUN/bundle.old"
    [ ! -d "$RUN/bundle" ] || mv "$RUN/bundle" "$RUN/bundle.old"
    mv "$work/unpacked" "$RUN/bundle"
    rm -rf "$RUN/bundle.old"
    [ ! -s "$work/etag" ] || mv "$work/etag" "$RUN/bundle.etag"
    settled bundle
}

wanted() { sed -n "s/^SECRETS='\([A-Za-z0-9 =-]*\)'\$/\1/p" "$RUN/$1/settings.sh" 2> /dev/null || true; }

# All of them, or none: a half would let somebody in who is to be out.
fetch_secrets() {
    mkdir "$work/secrets"
    # The last good bundle may want others, and may be needed.
    for pair in $(wanted bundle; wanted good); do
        file=${pair%%=*} name=${pair#*=}
        code=$(get "$SECRET_MANAGER/v1/projects/$PROJECT/secrets/$name/versions/latest:access" \
            "$work/answer" -H "@$work/header")
        case "$code" in
            200)
                sed -n 's/.*"data" *: *"\([A-Za-z0-9+\/=_-]*\)".*/\1/p' "$work/answer" \
                    | base64 -d > "$work/secrets/$file" 2> /dev/null || code=unreadable
                ;;
            404) code=200 ;;  # has no version yet: apply.sh says what to do
        esac
        rm -f "$work/answer"
        if [ "$code" != 200 ]; then
            say_once secrets "the secret $name cannot be fetched ($code); the last ones stay."
            return
        fi
    done
    settled secrets
    rm -rf "$RUN/secrets.old"
    [ ! -d "$RUN/secrets" ] || mv "$RUN/secrets" "$RUN/secrets.old"
    mv "$work/secrets" "$RUN/secrets"
    rm -rf "$RUN/secrets.old"
}

if log_in; then
    settled metadata
    fetch_bundle
    if metadata network-interfaces/0/access-configs/0/external-ip > "$work/address" && [ -s "$work/address" ]; then
        mv "$work/address" "$RUN/address"
    fi
    [ ! -f "$RUN/bundle/settings.sh" ] || fetch_secrets
else
    say_once metadata "the metadata server gives no token; what was fetched last stays."
fi
[ -f "$RUN/bundle/apply.sh" ] && [ -d "$RUN/secrets" ] || exit 0
COMMON=$(cd "$(dirname "$0")" && pwd)/common.sh
export COMMON
sh "$RUN/bundle/apply.sh"
