"""`make bench`: measure on this machine and write benchmarks/RESULTS.md.

Without flags everything, with 10 M events. Flags: `make bench BENCH="--volume-rows 100000000"`.
"""

from __future__ import annotations

import argparse

from benchmarks import backup, client, fsync, load, proof, results, rules, start, volume

_EVENTS = 10_000_000


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument(
        "--cold", action="store_true", help="also a clean clone without caches: downloads it all"
    )
    parser.add_argument("--start", action="store_true", help="only start, memory, delivery")
    parser.add_argument("--volume", action="store_true", help="only what depends on volume")
    parser.add_argument(
        "--volume-rows", type=int, metavar="N", help="the same with N events, not 10 M"
    )
    parser.add_argument("--proof", action="store_true", help="only what the rules find, by class")
    parser.add_argument("--rules", action="store_true", help="only what the rules cost")
    parser.add_argument(
        "--fsync", action="store_true", help="only what surviving a power cut costs"
    )
    parser.add_argument("--client", action="store_true", help="only whether the client is slowed")
    parser.add_argument(
        "--rounds", type=int, default=client.ROUNDS, metavar="N", help="turns of it in each state"
    )
    parser.add_argument("--load", action="store_true", help="only many sessions at once")
    parser.add_argument("--backup", action="store_true", help="only backup and restore of 10 M")
    chosen = parser.parse_args()
    only_volume = chosen.volume or chosen.volume_rows is not None
    parts = (
        chosen.start,
        chosen.cold,
        only_volume,
        chosen.proof,
        chosen.rules,
        chosen.fsync,
        chosen.client,
        chosen.load,
        chosen.backup,
    )
    everything = not any(parts)
    if chosen.proof or everything:
        proof.measure()
    if chosen.rules or everything:
        rules.measure()
    if chosen.fsync or everything:
        fsync.measure()
    if chosen.start or chosen.cold or everything:
        start.measure(cold=chosen.cold)
    if chosen.client or everything:
        client.measure(chosen.rounds)
    if chosen.load or everything:
        load.measure()
    if chosen.backup or everything:
        backup.measure()
    if only_volume or everything:
        volume.measure(chosen.volume_rows or _EVENTS)
    print(results.RESULTS.read_text())


if __name__ == "__main__":
    main()
