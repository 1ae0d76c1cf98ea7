#!/bin/sh
# The network of the containers, where each has its address.
set -eu
docker network inspect telemetry > /dev/null 2>&1 \
    || docker network create --driver bridge --subnet 172.30.77.0/24 telemetry > /dev/null
