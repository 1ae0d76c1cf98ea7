"""A double of Pulumi's Docker plugin, which no package registry offers.

`python -m tests.engine.provider_docker` is what the `pulumi-resource-docker` on the PATH of a test
runs: a gRPC server that creates networks, volumes, images and containers on the real Docker engine.
It behaves as the plugin does (line 5 on provider 4.5), above all where that plugin is strict or
surprising, so that a program which runs here runs there:

- an argument it does not know is refused by its name, and so is a duration that Go would write
  otherwise ("90s" for "1m30s"), which the plugin would take and then change at every `up`;
- the arguments in schema.py marked `replaces` replace; a replaced object with a name of its own is
  deleted first; `memory`, `memorySwap`, `cpuShares` and `restart` change in place;
- a change of `healthcheck`, `init` or `tmpfs` is reported as an update that does nothing;
- leaving out an argument marked `computed` keeps the old value without a difference;
- `cpus` is read back with its decimals: "2" replaces at every `up`, "2.0" does not;
- `memory` without an equal `memorySwap` differs at every `up`;
- `wait` fails without a health check and on time-out, and the next `up` replaces the container;
- without `destroyGraceSeconds` a container is killed at once; a volume is really deleted.

Secrets are not accepted by it, as they are not by the plugin: the engine hides them on the way in
and marks what comes back, whole arguments at a time.
"""

VERSION = "5.2.0"
