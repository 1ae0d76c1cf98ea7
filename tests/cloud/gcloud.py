"""A stand-in for the `gcloud` command: secrets in a folder, as Secret Manager keeps them.

It answers in gcloud's words and exit codes, which tests/cloud/test_real_gcloud.py holds against the
real one where that is at hand. Every call is recorded with its arguments and its environment.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import socket
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

FOLDER = Path(os.environ["GCLOUD_STAND_IN"])
FAILURES = {
    "logged-out": "ERROR: (gcloud.{command}) You do not currently have an active account selected."
    "\nPlease run:\n\n  $ gcloud auth login\n\nto obtain new credentials.",
    "denied": "ERROR: (gcloud.{command}) PERMISSION_DENIED: Permission denied on the resource.",
    "api-off": "ERROR: (gcloud.{command}) PERMISSION_DENIED: Secret Manager API has not been used "
    "in project 42 before or it is disabled. reason: SERVICE_DISABLED",
    "odd": "ERROR: (gcloud.{command}) something else",
}


def fail(words: list[str], text: str) -> NoReturn:
    """As gcloud does: one message, exit code 1."""
    print(text.format(command=".".join(words)), file=sys.stderr)
    sys.exit(1)


class Secrets:
    """Folder of secrets; a version is a file `<number>.<state>`."""

    def __init__(self, project: str, words: list[str]) -> None:
        self.project, self.words = project, words

    def folder(self, secret: str) -> Path:
        found = FOLDER / "secrets" / secret
        if not found.is_dir():
            name = f"projects/{self.project}/secrets/{secret}"
            fail(self.words, f"ERROR: (gcloud.{{command}}) NOT_FOUND: Secret [{name}] not found.")
        return found

    def described(self, secret: str) -> dict[str, Any]:
        """The secret itself, with its ETag and annotations."""
        file = self.folder(secret).parent / f"{secret}.json"
        kept = json.loads(file.read_text()) if file.exists() else {"etag": '"0"'}
        return {"name": f"projects/42/secrets/{secret}", **kept}

    def update(self, secret: str, annotations: str, etag: str) -> dict[str, Any]:
        with (FOLDER / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            now = self.described(secret)
            if now["etag"] != etag:
                fail(
                    self.words,
                    "ERROR: (gcloud.{command}) FAILED_PRECONDITION: The etag provided in the "
                    "request does not match the resource's current etag.",
                )
            pairs = dict(each.split("=", 1) for each in annotations.split(","))
            now["annotations"] = {**now.get("annotations", {}), **pairs}
            now["etag"] = f'"{int(etag.strip(chr(34))) + 1}"'
            fresh = FOLDER / "fresh"
            fresh.write_text(json.dumps(now))
            fresh.replace(self.folder(secret).parent / f"{secret}.json")
        return now

    def versions(self, secret: str) -> list[tuple[int, str, Path]]:
        """Oldest first."""
        files = [
            (int(f.name.split(".")[0]), f.suffix[1:], f) for f in self.folder(secret).iterdir()
        ]
        return sorted(files)

    def shown(self, secret: str, number: int, state: str, file: Path) -> dict[str, Any]:
        made = datetime.fromtimestamp(file.stat().st_mtime, UTC)
        return {
            "name": f"projects/42/secrets/{secret}/versions/{number}",
            "createTime": made.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "state": state,
        }

    def add(self, secret: str, data: bytes) -> dict[str, Any]:
        folder = self.folder(secret)
        with (FOLDER / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            number = max((each[0] for each in self.versions(secret)), default=0) + 1
            file = folder / f"{number}.ENABLED"
            file.write_bytes(data)
        return self.shown(secret, number, "ENABLED", file)

    def access(self, secret: str, version: str) -> dict[str, Any]:
        found = self.versions(secret)
        if version != "latest":
            found = [each for each in found if each[0] == int(version)]
        elif (FOLDER / "late").exists():  # `latest` need not be the latest at once
            found = found[:-1]
        name = f"projects/{self.project}/secrets/{secret}"
        if not found:
            fail(
                self.words,
                f"ERROR: (gcloud.{{command}}) NOT_FOUND: Secret [{name}] not found or has no "
                "versions.",
            )
        number, state, file = found[-1]
        if state != "ENABLED":
            fail(
                self.words,
                f"ERROR: (gcloud.{{command}}) FAILED_PRECONDITION: Secret Version "
                f"[{name}/versions/{number}] is in {state} state.",
            )
        data = base64.urlsafe_b64encode(file.read_bytes()).decode()
        return {
            "name": f"projects/42/secrets/{secret}/versions/{number}",
            "payload": {"data": data, "dataCrc32c": "0"},
        }

    def destroy(self, secret: str, version: str) -> dict[str, Any]:
        [(number, _, file)] = [each for each in self.versions(secret) if each[0] == int(version)]
        gone = file.with_suffix(".DESTROYED")
        file.rename(gone)
        gone.write_bytes(b"")
        return self.shown(secret, number, "DESTROYED", gone)


def tunnel(options: dict[str, str]) -> NoReturn:
    """Leads to the port that the file `tunnel` names, until it is ended. A host before it and an
    address to come from behind it, where they are others than this machine's loopback."""
    host, _, port = options["local-host-port"].partition(":")
    named = (FOLDER / "tunnel").read_text().split()
    where, number, *origin = named if len(named) > 1 else ("127.0.0.1", *named)
    target, source = (where, int(number)), (origin[0], 0) if origin else None
    (FOLDER / "tunnel.pid").write_text(str(os.getpid()))
    with socket.create_server((host, int(port))) as server:
        while True:
            near, _ = server.accept()
            far = socket.create_connection(target, source_address=source)
            for one, other in ((near, far), (far, near)):
                if os.fork() == 0:
                    while block := one.recv(65536):
                        other.sendall(block)
                    other.shutdown(socket.SHUT_WR)
                    os._exit(0)
            near.close()
            far.close()


def main() -> None:
    arguments = sys.argv[1:]
    with (FOLDER / "calls.jsonl").open("a") as calls:
        calls.write(json.dumps({"argv": arguments, "environment": dict(os.environ)}) + "\n")
    words = [each for each in arguments if not each.startswith("--")]
    flags = (each.removeprefix("--") for each in arguments if each.startswith("--"))
    options = {name: value for name, _, value in (each.partition("=") for each in flags)}
    failure = FOLDER / "failure"
    if failure.exists():
        fail(words[:3], FAILURES[failure.read_text()])
    secrets = Secrets(options["project"], words[:3])
    answer: Any
    match words:
        case ["secrets", "versions", "access", version]:
            answer = secrets.access(options["secret"], version)
        case ["secrets", "versions", "add", secret]:
            assert options["data-file"] == "-", "a payload goes by standard input"
            answer = secrets.add(secret, sys.stdin.buffer.read())
        case ["secrets", "describe", secret]:
            answer = secrets.described(secret)
        case ["secrets", "update", secret]:
            answer = secrets.update(secret, options["update-annotations"], options["etag"])
        case ["secrets", "versions", "list", secret]:
            assert options["filter"] == "state:ENABLED"
            answer = [
                secrets.shown(secret, *each)
                for each in reversed(secrets.versions(secret))
                if each[1] == "ENABLED"
            ]
        case ["secrets", "versions", "destroy", version]:
            answer = secrets.destroy(options["secret"], version)
        case ["compute", "instances", "describe", _]:
            named = FOLDER / "address"
            address = named.read_text() if named.exists() else "203.0.113.7"
            outside = {"name": "external-nat", "natIP": address, "type": "ONE_TO_ONE_NAT"}
            answer = {"networkInterfaces": [{"networkIP": "10.0.0.2", "accessConfigs": [outside]}]}
        case ["compute", "start-iap-tunnel", *_]:
            tunnel(options)
        case _:
            fail(words[:2], "ERROR: (gcloud.{command}) Invalid choice.")
    assert options["format"] == "json"
    print(json.dumps(answer))


main()
