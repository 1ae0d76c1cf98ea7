#!/bin/sh
# Pins libchdb with its hash for every platform that the registry at hand offers; part of `make lock`.
# usage: lock.sh [VERSION]   (default: the version pinned now)
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
version=${1:-$(sed -n 's/.*"@chdb\/lib-linux-x64-gnu": "\(.*\)".*/\1/p' "$here/package.json")}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cp "$here/package.json" "$here/.npmrc" "$scratch/"
cd "$scratch"

npm pkg delete optionalDependencies
for platform in darwin-arm64 darwin-x64 linux-arm64-gnu linux-x64-gnu; do
    if npm view "@chdb/lib-$platform@$version" version > /dev/null 2>&1; then
        npm pkg set "optionalDependencies.@chdb/lib-$platform=$version"
    else
        echo "not offered here, keeps being checked by the registry's signature: $platform" >&2
    fi
done
npm install --package-lock-only --ignore-scripts --loglevel=error > /dev/null
cp package.json package-lock.json "$here/"
