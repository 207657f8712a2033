"""What the figures depend on."""

import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def machine(threads: int, packages: Sequence[str] = ("torch", "geoopt", "hypll"), *, gpu: str = "") -> dict[str, str]:
    """The processors, how busy they are, and the versions of packages."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    cpu = next((line.split(": ")[1] for line in lines if line.startswith("model name")), platform.processor())
    facts = {"CPU": f"{cpu}, {os.cpu_count()} cores, {threads} threads"}
    if hasattr(os, "getloadavg"):
        facts["load before the run"] = f"{os.getloadavg()[0]:.1f}"
    if gpu:
        facts["GPU"] = gpu
    for package in packages:
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            facts[package] = "not installed"
    return facts
