import hashlib
import io
import json
import re
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from apps.io import packages
from apps.io.packages import FetchError, cache_folder, debian_package, make_once, npm_package, unpack

PACKAGE_JSON = json.dumps({"name": "@shapes/round", "license": "CC0-1.0"}).encode()


def tarball(path, members):
    """A tarball at `path` of (name, content) files and of tarfile.TarInfo members."""
    with tarfile.open(path, "w:gz") as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
            else:
                name, content = member
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return path


def link(name, target, kind):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GEOMDML_DATA", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def npm(tmp_path, monkeypatch):
    """An npm that copies a tarball, slowly, and counts its calls; gives the tarball, its SHA-256, the count."""
    source = tarball(tmp_path / "round.tgz", [("package/package.json", PACKAGE_JSON), ("package/o.svg", b"<svg/>")])
    calls = tmp_path / "calls"
    put_npm_on_path(tmp_path, monkeypatch, f'echo "$1 $2" >> "{calls}"; sleep 0.1; cp "{source}" "$4/round-1.0.0.tgz"')
    return source, hashlib.sha256(source.read_bytes()).hexdigest(), lambda: calls.read_text().splitlines()


def put_npm_on_path(tmp_path, monkeypatch, script):
    put_on_path(tmp_path, monkeypatch, "npm", script)


def put_on_path(tmp_path, monkeypatch, name, script):
    program = tmp_path / "bin" / name
    program.parent.mkdir(exist_ok=True)
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")


def contents(folder):
    return sorted(path.name for path in folder.rglob("*") if not path.name.endswith(".lock"))


@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("linux", {}, "home/.cache/geomdml"),
        ("linux", {"XDG_CACHE_HOME": "/elsewhere"}, "/elsewhere/geomdml"),
        ("linux", {"XDG_CACHE_HOME": "relative"}, "home/.cache/geomdml"),
        ("darwin", {"XDG_CACHE_HOME": "/elsewhere"}, "home/Library/Caches/geomdml"),
        ("win32", {}, "home/AppData/Local/geomdml"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/geomdml"),
        ("linux", {"GEOMDML_DATA": "/data"}, "/data"),
        ("darwin", {"GEOMDML_DATA": "~/data"}, "home/data"),
    ],
)
def test_cache_folder_follows_the_platform_unless_chosen(tmp_path, monkeypatch, platform, environment, expected):
    for name in ("GEOMDML_DATA", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(sys, "platform", platform)
    assert cache_folder() == tmp_path / expected


def test_a_package_is_fetched_once_and_its_licence_shown(cache, npm, capsys):
    _, sha256, calls = npm
    folder = npm_package("@shapes/round", "1.0.0", sha256)
    assert (folder / "o.svg").read_bytes() == b"<svg/>"
    assert folder.is_relative_to(cache)
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and "@shapes/round 1.0.0, licence CC0-1.0" in line
    assert npm_package("@shapes/round", "1.0.0", sha256) == folder
    assert calls() == ["pack @shapes/round@1.0.0"]
    assert capsys.readouterr().err == ""
    assert contents(cache) == sorted(["npm", folder.parent.name, "package", "package.json", "o.svg"])


def test_processes_at_once_fetch_once(cache, npm):
    _, sha256, calls = npm
    with ThreadPoolExecutor(4) as pool:
        folders = set(pool.map(lambda _: npm_package("@shapes/round", "1.0.0", sha256), range(4)))
    assert len(folders) == len(calls()) == 1


def test_another_hash_is_refused_and_leaves_nothing(cache, npm):
    _, sha256, _ = npm
    with pytest.raises(FetchError, match=f"@shapes/round@1.0.0 has SHA-256 {sha256}; expected 0000"):
        npm_package("@shapes/round", "1.0.0", "0000")
    assert contents(cache) == ["npm"]


def test_a_machine_without_npm_is_told_so_in_one_line(cache, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FetchError, match=r"^@shapes/round@1\.0\.0 is fetched by npm, which this machine lacks: .*$"):
        npm_package("@shapes/round", "1.0.0", "0000")


def test_what_npm_complains_of_is_told_in_one_line(cache, tmp_path, monkeypatch):
    put_npm_on_path(
        tmp_path, monkeypatch, "printf 'npm error code E404\\nnpm error 404 Not Found\\nmore\\n' >&2; exit 1"
    )
    with pytest.raises(FetchError, match=r"^npm could not bring @shapes/round@1\.0\.0: 404 Not Found$"):
        npm_package("@shapes/round", "1.0.0", "0000")
    assert contents(cache) == ["npm"]


@pytest.fixture
def apt(tmp_path, monkeypatch):
    """An apt-get that knows `squares` only after an update into lists of its own; gives the hash and the calls."""
    source, calls = tmp_path / "squares.deb", tmp_path / "calls"
    source.write_bytes(b"a package")
    put_on_path(
        tmp_path,
        monkeypatch,
        "apt-get",
        f'echo "$@" >> "{calls}"\n'
        'case "$*" in *Dir::State::Lists=*) ;; *) '
        "printf 'W: old\\nE: Unable to locate squares\\n' >&2; exit 100;; esac\n"
        f'case "$*" in *download*) cp "{source}" squares_1.0.deb;; esac',
    )
    put_on_path(tmp_path, monkeypatch, "dpkg-deb", 'mkdir -p "$3/usr/share/squares"; cp "$2" "$3/usr/share/squares/s"')
    return hashlib.sha256(b"a package").hexdigest(), lambda: calls.read_text().splitlines()


def test_a_debian_package_is_fetched_once_with_lists_of_its_own(cache, apt, capsys):
    sha256, calls = apt
    folder = debian_package("squares", "1.0", sha256)
    assert (folder / "usr/share/squares/s").read_bytes() == b"a package"
    assert sorted(path.name for path in folder.iterdir()) == ["usr"]  # neither the package nor the lists stay
    assert re.fullmatch(r"fetched squares 1\.0, licence in .*/squares/copyright\n", capsys.readouterr().err)
    assert debian_package("squares", "1.0", sha256) == folder
    assert [call.split()[-1] for call in calls()] == ["squares=1.0", "update", "squares=1.0"]


def test_a_debian_package_with_another_hash_is_refused_and_leaves_nothing(cache, apt):
    with pytest.raises(FetchError, match=f"squares=1.0 has SHA-256 {apt[0]}; expected 0000"):
        debian_package("squares", "1.0", "0000")
    assert contents(cache) == ["debian"]


def test_what_apt_complains_of_is_told_in_one_line(cache, tmp_path, monkeypatch):
    put_on_path(tmp_path, monkeypatch, "apt-get", "printf 'W: old\\nE: Unable to locate it\\nmore\\n' >&2; exit 100")
    with pytest.raises(FetchError, match=r"^apt-get could not bring squares=1\.0: Unable to locate it$"):
        debian_package("squares", "1.0", "0000")


def test_a_machine_without_apt_is_told_so_in_one_line(cache, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        FetchError, match=r"^squares=1\.0 is fetched by apt-get, which this machine lacks: .*data\.root$"
    ):
        debian_package("squares", "1.0", "0000")


@pytest.mark.parametrize(
    "member",
    [
        ("../outside", b"!"),
        ("package/../../outside", b"!"),
        link("package/link", "../../outside", tarfile.SYMTYPE),
        link("package/link", "package/o.svg", tarfile.SYMTYPE),
        link("package/link", "../outside", tarfile.LNKTYPE),
        link("package/pipe", "", tarfile.FIFOTYPE),
    ],
    ids=lambda member: member[0] if isinstance(member, tuple) else f"type {member.type.decode()} {member.linkname}",
)
def test_only_plain_files_inside_are_unpacked(tmp_path, member):
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(FetchError, match=r"bad\.tgz"):
        unpack(tarball(tmp_path / "bad.tgz", [member]), folder)
    assert contents(tmp_path) == ["bad.tgz", "folder"] or contents(folder) == ["package"]


def test_an_unsafe_package_is_refused_as_a_whole(cache, npm):
    source, *_ = npm
    tarball(source, [("package/package.json", PACKAGE_JSON), ("../../outside", b"!")])
    with pytest.raises(FetchError, match=r"not safe to unpack: '\.\./\.\./outside'"):
        npm_package("@shapes/round", "1.0.0", hashlib.sha256(source.read_bytes()).hexdigest())
    assert contents(cache) == ["npm"]


@pytest.mark.parametrize(("limit", "value"), [("UNPACKED_BYTES", 9), ("UNPACKED_FILES", 1)])
def test_the_amount_unpacked_is_bounded(tmp_path, monkeypatch, limit, value):
    monkeypatch.setattr(packages, limit, value)
    with pytest.raises(FetchError, match=r"large\.tgz holds more than"):
        unpack(tarball(tmp_path / "large.tgz", [("a", b"12345"), ("b", b"12345")]), tmp_path)
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("damage", [lambda content: b"no tarball", lambda content: content[: len(content) // 2]])
def test_a_damaged_tarball_is_refused(tmp_path, damage):
    whole = tarball(tmp_path / "whole.tgz", [("a", bytes(range(256)) * 9)]).read_bytes()
    (tmp_path / "damaged.tgz").write_bytes(damage(whole))
    with pytest.raises(FetchError, match=r"damaged\.tgz cannot be unpacked"):
        unpack(tmp_path / "damaged.tgz", tmp_path)


def test_a_folder_exists_only_when_it_is_complete(tmp_path):
    def interrupted(folder: Path) -> None:
        (folder / "half").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_once(tmp_path / "set", interrupted)
    assert contents(tmp_path) == []


def test_what_a_killed_run_left_is_cleared(tmp_path):
    def killed(folder: Path) -> None:
        (folder / "half").touch()
        folder.rename(tmp_path / "left")

    with pytest.raises(FetchError):
        make_once(tmp_path / "set", killed)
    (tmp_path / "left").rename(tmp_path / ".set.unfinished")
    make_once(tmp_path / "set", lambda folder: (folder / "whole").touch())
    assert contents(tmp_path) == ["set", "whole"]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FetchError, match=r"file.*GEOMDML_DATA"):
        make_once(tmp_path / "file" / "set", lambda folder: None)


def test_no_home_folder_is_an_error_that_says_what_to_do(tmp_path, monkeypatch):
    """As in a container, for a user whom the system does not know."""

    def unknown(_):
        raise KeyError("getpwuid(): uid not found")

    for name in ("GEOMDML_DATA", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    with pytest.raises(FetchError, match=r"no home folder.*GEOMDML_DATA"):
        cache_folder()
    monkeypatch.setenv("GEOMDML_DATA", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.setenv("GEOMDML_DATA", "~/cache")
    with pytest.raises(FetchError, match="no home folder"):
        cache_folder()
