"""Debian roots as tar files: the base of the ClickHouse test image, and of a test's machine.

apt-get works out the packages and their dependencies as for an empty machine and fetches them;
dpkg-deb unpacks them. Nothing is installed or run, so this needs no root rights. The result is
kept in the cache folder under a hash of this recipe and of the system's release: for ClickHouse
25 MB of packages, a few seconds the first time.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

# GNU wget, awk, sed, sha256sum and sh are for the schema runner, Python for the entrypoint.
PACKAGES = (
    "ca-certificates",
    "coreutils",
    "dash",
    "grep",
    "libpython3-stdlib",
    "mawk",
    "python3-minimal",
    "sed",
    "wget",
)
UNNEEDED = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "usr/share/info",
    "usr/share/lintian",
)
MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
PASSWD = """root:x:0:0:root:/root:/bin/sh
clickhouse:x:101:101::/var/lib/clickhouse:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
"""
GROUP = "root:x:0:\nclickhouse:x:101:\nnogroup:x:65534:\n"


class NoRootError(Exception):
    """The root cannot be made on this machine; the text says why."""


def cache_folder() -> Path:
    """Where things made once are kept between runs: TELEMETRY_TEST_CACHE or the user's cache."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(os.environ.get("TELEMETRY_TEST_CACHE") or Path(base) / "telemetry-tests")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def debian_root(packages: Sequence[str] = PACKAGES) -> Path:
    """The tar file with the root, made if it is not in the cache yet."""
    for program in ("apt-get", "dpkg-deb"):
        if shutil.which(program) is None:
            raise NoRootError(f"{program} not found; the test image is made from Debian packages")
    release = Path("/etc/os-release").read_text() + platform.machine()
    made_of = Path(__file__).read_text() + release + " ".join(packages)
    recipe = hashlib.sha256(made_of.encode()).hexdigest()[:16]
    target = cache_folder() / f"debian-root-{recipe}.tar"
    if target.exists():
        return target
    with tempfile.TemporaryDirectory(prefix="telemetry-root-") as scratch:
        root = Path(scratch) / "root"
        _unpack(_fetch(Path(scratch) / "packages", packages), root)
        _finish(root)
        unfinished = target.with_suffix(f".{os.getpid()}")
        with tarfile.open(unfinished, "w") as tar:
            tar.add(root, arcname=".", filter=_owned_by_root)
        unfinished.rename(target)
    return target


def _fetch(folder: Path, packages: Sequence[str]) -> list[Path]:
    """Fetches them and all they depend on, as if nothing were installed."""
    (folder / "partial").mkdir(parents=True)
    (folder / "status").touch()
    command = ["apt-get", "install", "--download-only", "--yes", "--no-install-recommends", "-q"]
    settings = {
        "Dir::State::status": folder / "status",
        "Dir::Cache::archives": folder,
        "Debug::NoLocking": "true",
        "APT::Sandbox::User": "root",
    }
    command += [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]
    done = subprocess.run([*command, *packages], capture_output=True, text=True, check=False)
    if done.returncode != 0 and os.geteuid() == 0:
        subprocess.run(["apt-get", "update", "-q"], capture_output=True, check=False)
        done = subprocess.run([*command, *packages], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NoRootError(f"apt-get could not fetch the packages of the test image: {done.stderr}")
    return sorted(folder.glob("*.deb"))


def _unpack(packages: list[Path], root: Path) -> None:
    for name in MERGED:
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")
    for package in packages:
        with subprocess.Popen(
            ["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE
        ) as files:
            # Packages that still ship /bin or /lib must not replace the links by folders.
            command = ["tar", "-x", "--keep-directory-symlink", "--no-same-owner", "-C", str(root)]
            subprocess.run(command, stdin=files.stdout, check=True)
        if files.returncode != 0:
            raise NoRootError(f"{package.name} cannot be unpacked")


def _finish(root: Path) -> None:
    """What the packages' own installation scripts would have done, as far as it is needed."""
    for name in UNNEEDED:
        shutil.rmtree(root / name, ignore_errors=True)
    for name, target in (("sh", "dash"), ("awk", "mawk")):
        link = root / "usr/bin" / name
        link.unlink(missing_ok=True)
        link.symlink_to(target)
    (root / "etc/passwd").write_text(PASSWD)
    (root / "etc/group").write_text(GROUP)
    certificates = sorted((root / "usr/share/ca-certificates").rglob("*.crt"))
    bundle = root / "etc/ssl/certs/ca-certificates.crt"
    bundle.parent.mkdir(parents=True, exist_ok=True)
    bundle.write_text("".join(path.read_text() for path in certificates))
    for name in ("tmp", "proc", "sys", "dev", "run", "root", "var/tmp"):
        (root / name).mkdir(parents=True, exist_ok=True)
    for name in ("tmp", "var/tmp"):
        (root / name).chmod(0o1777)


def _owned_by_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    return entry
