import os

import pytest

from toolkit.machine import available_cores, instruction_sets, processor_name


@pytest.fixture
def many_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(16)), raising=False)


def system(root, cgroup, files):
    for name, content in {"proc/self/cgroup": cgroup, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


@pytest.mark.parametrize(
    ("cgroup", "files", "cores"),
    [
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "200000 100000\n"}, 2),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "max 100000\n"}, 16),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "50000 100000\n"}, 1),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "250000 100000\n"}, 3),
        ("0::/a/b\n", {"sys/fs/cgroup/a/cpu.max": "400000 100000\n", "sys/fs/cgroup/a/b/cpu.max": "max 100000\n"}, 4),
        ("0::/a/b\n", {"sys/fs/cgroup/a/cpu.max": "400000 100000\n", "sys/fs/cgroup/a/b/cpu.max": "300000 100000\n"}, 3),
        ("4:cpu,cpuacct:/docker/x\n1:name=systemd:/\n",
         {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "150000\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"}, 2),
        ("4:cpu,cpuacct:/\n",
         {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"}, 16),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "nonsense\n"}, 16),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "9900000 100000\n"}, 16),
    ],
)  # fmt: skip
def test_a_containers_limit_counts(many_cores, tmp_path, cgroup, files, cores):
    assert available_cores(system(tmp_path, cgroup, files)) == cores


def test_without_control_groups_the_affinity_counts(many_cores, tmp_path):
    assert available_cores(tmp_path) == 16
    assert 1 <= available_cores() <= 16


def test_the_processor_has_a_name():
    assert processor_name()
    assert len(set(instruction_sets())) == len(instruction_sets())
