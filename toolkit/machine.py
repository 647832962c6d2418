"""What this process may use of the machine it runs on."""

import math
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path("/")
# Those that decide how fast int8 and float products are; as /proc/cpuinfo names them.
_INSTRUCTION_SETS = ("avx", "avx2", "fma", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16",
                     "asimd", "asimddp", "i8mm", "bf16", "sve")  # fmt: skip


def available_cores(root: Path = _ROOT) -> int:
    """Cores this process may use: `taskset` makes them fewer than the machine's, and so does a container's CPU limit.

    Args:
        root: The folder where `/proc` and `/sys` are; tests put their own there.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limits = [math.ceil(limit) for limit in _cgroup_limits(root)]  # half a core still needs one worker
    return max(1, min([affinity, *limits]))


def _cgroup_limits(root: Path) -> Iterator[float]:
    """The CPU limits, in cores, of this process's control groups and of those above them (cgroup v2 and v1)."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return  # not Linux
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            mount, read = root / "sys/fs/cgroup", _limit_v2
        elif "cpu" in controllers.split(","):
            mount, read = root / "sys/fs/cgroup" / "cpu", _limit_v1
        else:
            continue
        # Inside a container its own group is mounted at the top, whatever path the host calls it by.
        group = Path(path.lstrip("/"))
        for folder in (mount, *(mount / each for each in (group, *group.parents))):
            limit = read(folder)
            if limit is not None:
                yield limit


def _limit_v2(folder: Path) -> float | None:
    try:
        quota, period = (folder / "cpu.max").read_text().split()  # microseconds, or max for none
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None


def _limit_v1(folder: Path) -> float | None:
    try:
        quota = int((folder / "cpu.cfs_quota_us").read_text())  # -1 for none
        period = int((folder / "cpu.cfs_period_us").read_text())
        return None if quota <= 0 else quota / period
    except (OSError, ValueError, ZeroDivisionError):
        return None


def processor_name() -> str:
    """The processor as its maker calls it, where the system says so."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def instruction_sets() -> list[str]:
    """The vector instructions that matter for a model's speed, where the system lists them."""
    flags = (_cpuinfo("flags") or _cpuinfo("Features")).split()
    return [name for name in _INSTRUCTION_SETS if name in flags]


def _cpuinfo(key: str) -> str:
    """The first entry of `key` in Linux's list of processors; empty where there is none."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == key), "")


def package_versions(*packages: str) -> dict[str, str]:
    """Installed versions of `packages` and of Python; those not installed are left out."""
    from importlib import metadata  # which takes as long to import as a review to answer

    versions = {"python": ".".join(map(str, sys.version_info[:3]))}
    for package in packages:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions
