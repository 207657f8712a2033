"""Data that comes as a package: fetched by the package's own client, checked, and kept in a cache folder."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from apps.io.atomic import make_folder

UNPACKED_BYTES = 2**30
UNPACKED_FILES = 50_000
PATIENCE_S = 900
NO_HOME = "Could not determine home directory"  # in the RuntimeError of pathlib
COMPLAINT = re.compile(r"^(npm error |E: )")
REMEDY = {
    "npm": "install npm (on Debian: apt-get install npm)",
    "apt-get": "fetch it on a Debian machine",
    "dpkg-deb": "fetch it on a Debian machine",
}


class FetchError(RuntimeError):
    """Something that the network, a client or a package should have given could not be had."""


def cache_folder() -> Path:
    """The folder for all that geomdml fetches and derives: $GEOMDML_DATA, else in the user's cache folder.

    It need not exist yet. The user's cache folder is the platform's: $XDG_CACHE_HOME or ~/.cache,
    ~/Library/Caches on macOS, %LOCALAPPDATA% on Windows.

    Raises:
        FetchError: the user has no home folder, and no other place is named.
    """
    try:
        return _cache_folder()
    except RuntimeError as error:  # pathlib's: neither $HOME is set nor does the system know one
        raise FetchError("there is no home folder to keep a cache in; name a place by $GEOMDML_DATA") from error


def _cache_folder() -> Path:
    if chosen := os.environ.get("GEOMDML_DATA"):
        return Path(chosen).expanduser().absolute()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME", ""))
        if not base.is_absolute():
            base = Path.home() / ".cache"
    return base / "geomdml"


def make_once(folder: Path, make: Callable[[Path], None]) -> Path:
    """`folder` in the cache, made at the first call: `apps.io.atomic.make_folder`.

    Raises:
        FetchError: the place cannot be written to; and whatever `make` raises.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as place:
    ...     make_once(Path(place) / "shelf", lambda folder: (folder / "box").mkdir()).name
    'shelf'
    """
    try:
        make_folder(folder, make)
    except (OSError, NotImplementedError) as error:  # the latter where the disk knows no locks
        raise FetchError(
            f"{folder} cannot be made ({error}): make room there, or name another place by $GEOMDML_DATA"
        ) from error
    return folder


def npm_package(name: str, version: str, sha256: str) -> Path:
    """The folder of an unpacked npm package in the cache, fetched by `npm pack` at first.

    A line with the package's licence is shown when it is fetched.

    Args:
        name: as npm knows it, such as "@iconify-json/noto".
        version: the exact version.
        sha256: of the tarball, in hexadecimal; the folder's name carries its start.

    Raises:
        FetchError: no npm, no network, no such package, another hash, a tarball that holds anything but
            plain files and folders or more than a bounded amount of them.
    """
    folder = cache_folder() / "npm" / f"{name.removeprefix('@').replace('/', '-')}-{version}-{sha256[:8]}"

    def fetch(unfinished: Path) -> None:
        tarball = _npm_pack(f"{name}@{version}", unfinished)
        verify(tarball, sha256, f"npm package {name}@{version}")
        unpack(tarball, unfinished)
        tarball.unlink()
        licence = json.loads((unfinished / "package" / "package.json").read_bytes()).get("license", "not stated")
        print(f"fetched {name} {version}, licence {licence}: {folder}", file=sys.stderr)

    return make_once(folder, fetch) / "package"


def debian_package(name: str, version: str, sha256: str) -> Path:
    """The files of a Debian package in the cache, fetched by `apt-get download` at first; nothing is installed.

    It needs no rights: where the system's package lists do not know the package (or there are none), lists are fetched
    into the cache for the moment. A line that names the package's copyright file is shown when it is fetched.

    Args:
        name: as apt knows it, such as "dataset-fashion-mnist".
        version: the exact version.
        sha256: of the .deb file, in hexadecimal; the folder's name carries its start.

    Raises:
        FetchError: no apt-get or dpkg-deb (not a Debian machine), no network, no such package, another hash.
    """
    folder = cache_folder() / "debian" / f"{name}-{version}-{sha256[:8]}"

    def fetch(unfinished: Path) -> None:
        package = _apt_download(f"{name}={version}", unfinished)
        verify(package, sha256, f"Debian package {name}={version}")
        _client("dpkg-deb", ["-x", str(package), str(unfinished)], f"{name}={version}", unfinished)
        package.unlink()
        copyright = folder / "usr/share/doc" / name / "copyright"
        print(f"fetched {name} {version}, licence in {copyright}", file=sys.stderr)

    return make_once(folder, fetch)


def unpack(tarball: Path, folder: Path) -> None:
    """Unpack a tarball of plain files and folders, of a bounded size, into `folder`.

    Raises:
        FetchError: links, devices, paths that leave `folder`, too much, or no tarball; names the member.
    """
    unpacked_bytes = 0
    try:
        with tarfile.open(tarball) as tar:
            for count, member in enumerate(tar, start=1):
                unpacked_bytes += member.size
                if count > UNPACKED_FILES or unpacked_bytes > UNPACKED_BYTES:
                    raise FetchError(
                        f"{tarball.name} holds more than {UNPACKED_FILES} files or {UNPACKED_BYTES} bytes: "
                        "it is not unpacked"
                    )
                if not (member.isfile() or member.isdir()):
                    raise FetchError(f"{tarball.name} holds {member.name!r}, which is neither file nor folder")
                tar.extract(member, folder, filter="data")
    except tarfile.FilterError as error:
        raise FetchError(f"{tarball.name} is not safe to unpack: {error}") from error
    except (tarfile.TarError, EOFError) as error:
        raise FetchError(f"{tarball.name} cannot be unpacked: {error}") from error


def _npm_pack(package: str, folder: Path) -> Path:
    """The tarball of `package`, fetched into `folder` by the user's npm with the user's npm settings."""
    _client(
        "npm",
        ["pack", package, "--pack-destination", str(folder), "--ignore-scripts", "--loglevel=error"],
        package,
        folder,
    )
    return _only(folder, "*.tgz", package)


def _apt_download(package: str, folder: Path) -> Path:
    """The .deb file of `package`, fetched into `folder` by the system's package lists, else by fresh ones."""
    options = ["-q", "-o", "APT::Sandbox::User=root"]  # the sandbox's user may not write into the cache
    try:
        _client("apt-get", [*options, "download", package], package, folder)
    except FetchError:
        with TemporaryDirectory(dir=folder) as place:
            own = [*options, "-o", f"Dir::State::Lists={place}/lists", "-o", f"Dir::Cache={place}/cache"]
            for part in ("lists/partial", "cache/archives/partial"):
                (Path(place) / part).mkdir(parents=True)
            _client("apt-get", [*own, "update"], package, folder)
            _client("apt-get", [*own, "download", package], package, folder)
    return _only(folder, "*.deb", package)


def _client(program: str, arguments: list[str], package: str, folder: Path) -> None:
    """Run a package client in `folder`; what it complains of becomes one line."""
    found = shutil.which(program)
    if found is None:
        raise FetchError(
            f"{package} is fetched by {program}, which this machine lacks: {REMEDY[program]}, "
            "or give data of your own by --data.root"
        )
    try:
        done = subprocess.run(
            [found, *arguments], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE_S
        )
    except subprocess.TimeoutExpired as error:
        raise FetchError(
            f"{program} did not bring {package} within {PATIENCE_S} seconds: is there a network?"
        ) from error
    if done.returncode:
        said = [COMPLAINT.sub("", line) for line in done.stderr.decode(errors="replace").splitlines()]
        reason = next(
            (line for line in said if line and not line.startswith(("code ", "W:"))), f"{program} said nothing"
        )
        raise FetchError(f"{program} could not bring {package}: {reason}")


def _only(folder: Path, pattern: str, package: str) -> Path:
    files = list(folder.glob(pattern))
    if len(files) != 1:
        raise FetchError(f"{package} came as {len(files)} files {pattern}; expected one")
    return files[0]


def verify(file: Path, sha256: str, package: str) -> None:
    """Refuse a file that is not what was pinned.

    Args:
        sha256: of its content, in hexadecimal.
        package: what it is, for the message.

    Raises:
        FetchError: it has another hash.
    """
    with file.open("rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    if found != sha256:
        raise FetchError(
            f"{package} has SHA-256 {found}; expected {sha256}: "
            "it is not what was pinned, or it was damaged on its way, and is not used"
        )
