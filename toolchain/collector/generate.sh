#!/bin/sh
# Makes the collector's Go sources anew from builder.yaml, with the builder pinned in builder/go.sum.
# Everything happens in a scratch folder first: a failure leaves the committed sources as they were.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM

(cd "$here/builder" && go build -o "$scratch/builder" go.opentelemetry.io/collector/cmd/builder)

mkdir "$scratch/sources"
cp "$here/builder.yaml" "$scratch/sources/"
cd "$scratch/sources"
"$scratch/builder" --config builder.yaml --skip-compilation --skip-strict-versioning=false

# No Windows service: with its entry point gone, tidy drops what only that needed.
rm main_windows.go
go mod tidy
go mod verify

cp components.go main.go main_others.go go.mod go.sum "$here/"
