#!/usr/bin/env python3
"""`clickhouse extract-from-config` of the test image: a value of the merged configuration.

As in the official image: --config-file FILE --key KEY, with --users out of the users' file, which
the configuration names; code 1 and a reason where a file cannot be read or has no such key. The
official program has many other commands; here they are refused.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from xml.etree.ElementTree import ParseError

from entrypoint import users_file  # type: ignore[import-not-found]
from merge import BadConfigError, merged  # type: ignore[import-not-found]


def main() -> int:
    """Prints it."""
    parser = argparse.ArgumentParser(prog="clickhouse")
    parser.add_argument("command", choices=["extract-from-config"])
    parser.add_argument("--config-file", type=Path, required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--users", action="store_true")
    asked = parser.parse_args()
    try:
        tree = merged(asked.config_file)
        if asked.users:
            tree = merged(asked.config_file.parent / users_file(tree))
    except (BadConfigError, ParseError, OSError) as error:
        print(f"Code: 1. {error}", file=sys.stderr)
        return 1
    found = tree.find(asked.key.replace(".", "/"))
    if found is None:
        print(f"Not found: {asked.key}", file=sys.stderr)
        return 1
    print(found.text or "")
    return 0


if __name__ == "__main__":
    sys.exit(main())
