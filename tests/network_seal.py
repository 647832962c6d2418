"""Subprocesses whose every attempt to leave the machine is refused and written down, by Python and by the kernel.

Python is watched by an audit hook, which sees each look-up of a name and each connection, however it was imported. Where
strace may trace, the kernel's view joins it: native code opens sockets without telling Python.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

# Imported as `sitecustomize`, before anything else, by every Python process that inherits the environment.
HOOK = """
import os, socket, sys
LOOPBACK = ("127.0.0.1", "::1", "localhost", "0.0.0.0", "::", "", None)
def refuse(what):
    with open(os.environ["SEAL_LOG"], "a") as stream:
        stream.write(f"{what}\\n")
    raise OSError("the network is sealed")
def watch(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = arguments[1]
        if isinstance(address, tuple) and address[0] not in LOOPBACK:
            refuse(f"{event} {address}")
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        host = arguments[0].decode() if isinstance(arguments[0], bytes) else arguments[0]
        if host not in LOOPBACK:
            refuse(f"{event} {host}")
sys.addaudithook(watch)
"""
_CALL = re.compile(
    r"\b(connect|sendto|sendmsg|sendmmsg)\(.*?sa_family=(AF_INET6?),.*?(?:inet_addr\(|inet_pton\(AF_INET6, )\"([^\"]+)\""
)


class Seal:
    """A folder with the hook and the logs of what it saw.

    Args:
        folder: empty, for the hook and its logs.
    """

    def __init__(self, folder: Path) -> None:
        (folder / "sitecustomize.py").write_text(HOOK)
        self._folder, self._log, self._trace = folder, folder / "python.log", folder / "kernel.log"

    def environment(self, **variables: str) -> dict[str, str]:
        """That of a sealed process."""
        path = os.pathsep.join([str(self._folder), os.environ.get("PYTHONPATH", "")])
        return {**os.environ, "PYTHONPATH": path, "SEAL_LOG": str(self._log), **variables}

    def wrap(self, command: list[str]) -> list[str]:
        """The command under strace, where that may trace."""
        if not can_trace():
            return command
        calls = "connect,sendto,sendmsg,sendmmsg"
        return ["strace", "-f", "-qq", "--seccomp-bpf", "-e", f"trace={calls}", "-o", str(self._trace), *command]

    def attempts(self) -> list[str]:
        """What was tried outside loopback."""
        seen = self._log.read_text().splitlines() if self._log.exists() else []
        kernel = self._trace.read_text(errors="replace") if self._trace.exists() else ""
        calls = [match for match in _CALL.findall(kernel) if not match[2].startswith("127.") and match[2] != "::1"]
        return seen + [" ".join(call) for call in calls]


def can_trace() -> bool:
    """Whether strace is there and allowed to do its work."""
    if not shutil.which("strace"):
        return False
    command = [
        "strace",
        "-f",
        "-qq",
        "--seccomp-bpf",
        "-e",
        "trace=connect",
        "-o",
        os.devnull,
        sys.executable,
        "-c",
        "",
    ]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
