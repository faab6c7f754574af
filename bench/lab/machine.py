"""What this machine is and how busy it is; processes seen through /proc. Linux only. Uses the standard library alone."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
import time
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


def refuse_memory(folder: Path) -> str:
    """The file system's type. Ends the benchmark when the folder is in memory: nothing durable is measured there."""
    told = subprocess.run(["stat", "-f", "-c", "%T", str(folder)], capture_output=True, text=True, check=True)
    kind = told.stdout.strip()
    if kind in {"tmpfs", "ramfs"}:
        raise SystemExit(f"{folder} is in memory ({kind}): give --folder on a real disk")
    return kind


def _mount(folder: Path) -> tuple[str, str]:
    """(device, type) of the mount that holds the folder."""
    found, best = ("?", "?"), ""
    for line in Path("/proc/mounts").read_text().splitlines():
        device, point, kind = line.split()[:3]
        inside = str(folder.resolve()).startswith(point.rstrip("/") + "/") or point == "/"
        if inside and len(point) >= len(best):
            found, best = (device, kind), point
    return found


def _disk(folder: Path) -> str:
    device, kind = _mount(folder)
    name = Path(device).resolve().name.rstrip("0123456789")
    turning = Path(f"/sys/block/{name}/queue/rotational")
    spins = turning.read_text().strip() if turning.exists() else "?"
    return f"{kind} on {name} ({ {'0': 'not rotating', '1': 'rotating'}.get(spins, 'unknown kind') })"


def _field(path: str, key: str) -> str:
    for line in Path(path).read_text().splitlines():
        if line.startswith(key):
            return line.partition(":")[2].strip()
    return "?"


def describe(folder: Path, seconds: float = 1.0) -> dict[str, str]:
    """The lines that stand above the table; looks so long at what others use."""
    memory = int(_field("/proc/meminfo", "MemTotal").split()[0]) / 1024**2
    return {
        "CPU": f"{_field('/proc/cpuinfo', 'model name')}, {os.cpu_count()} cores",
        "RAM": f"{memory:.1f} GiB",
        "kernel": platform.release(),
        "disk": _disk(folder),
        "Python": platform.python_version(),
        "load at the start": " ".join(f"{n:.2f}" for n in os.getloadavg()),
        "CPU used by others": f"{others(seconds):.0f} % of {os.cpu_count()}00 %",
    }


def calibrate(folder: Path, seconds: float = 0.5) -> dict[str, float]:
    """Two yardsticks of the moment: a pure Python loop (M steps/s) and overwrites with fdatasync (per s)."""
    begun, steps = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        for _ in range(10_000):
            steps += 1
    python = steps / (time.perf_counter() - begun) / 1e6
    path = folder / "fdatasync"
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    os.pwrite(fd, bytes(4096), 0)
    os.fsync(fd)
    begun, syncs = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        os.pwrite(fd, os.urandom(8), 0)
        os.fdatasync(fd)
        syncs += 1
    disk = syncs / (time.perf_counter() - begun)
    os.close(fd)
    path.unlink()
    return {"Python loop, M steps/s": python, "fdatasync/s": disk}


def _busy() -> int:
    numbers = [int(n) for n in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    return sum(numbers[:8]) - numbers[3] - numbers[4]


def others(seconds: float = 0.3) -> float:
    """Per cent of one core that is busy while we do nothing."""
    begun, busy = time.monotonic(), _busy()
    time.sleep(seconds)
    return (_busy() - busy) / TICK / (time.monotonic() - begun) * 100


class Process:
    """One process as /proc shows it now."""

    def __init__(self, pid: int, parent: int, words: str, cpu: float) -> None:
        self.pid, self.parent, self.words, self.cpu = pid, parent, words, cpu


def tree(*roots: int) -> list[Process]:
    """These processes and all below them. ``cpu``: seconds of their own and of children they have reaped."""
    found: dict[int, Process] = {}
    below: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            words = (entry / "cmdline").read_bytes().decode("utf-8", "replace").replace("\0", " ")
            pid, parent = int(entry.name), int(fields[1])
            found[pid] = Process(pid, parent, words, sum(int(t) for t in fields[11:15]) / TICK)
            below.setdefault(parent, []).append(pid)
    waiting, family = list(roots), []
    while waiting:
        pid = waiting.pop()
        if pid in found:
            family.append(found[pid])
            waiting += below.get(pid, [])
    return family


def memory(pid: int) -> tuple[float, float]:
    """(RSS, PSS) in MB (10^6 bytes), as the reference table counts."""
    rss = pss = 0.0
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Rss:"):
                rss = int(line.split()[1]) * 1024 / 1e6
            elif line.startswith("Pss:"):
                pss = int(line.split()[1]) * 1024 / 1e6
    return rss, pss


def peak(pid: int) -> float:
    """The most memory it has had since ``forget_peak``, in MiB."""
    return int(_field(f"/proc/{pid}/status", "VmHWM").split()[0]) / 1024


def resident(pid: int) -> float:
    """What it has now, in MiB."""
    return int(_field(f"/proc/{pid}/status", "VmRSS").split()[0]) / 1024


def forget_peak(pid: int) -> None:
    """Begin to watch its peak anew."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def folder_bytes(folder: Path) -> int:
    """Bytes on disk of all files below it."""
    return sum(p.lstat().st_blocks * 512 for p in folder.rglob("*") if p.is_file())
