"""A process that may compute and nothing else: no network, no files but its own, no other programs, little memory.

Where Linux permits it the kernel sees to that: namespaces of its own for mounts, network, processes and messages, in
which the whole file system is read-only, the course's answers and the handed-in files are covered, and the scratch
folder is a small file system in memory that ends with the process. Everywhere a hook in the interpreter refuses the
same, and says so in a sentence. Where there is the hook alone, it stops accidents; code that means harm gets round it.
Neither hides what the user may read elsewhere on the machine: the network is shut, but what was read can be used.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

MIB = 2**20
PROCESSES_AT_MOST = 64
NEW_MOUNTS, NEW_UTS, NEW_IPC = 0x20000, 0x4000000, 0x8000000
NEW_USER, NEW_PIDS, NEW_NET = 0x10000000, 0x20000000, 0x40000000
RECURSIVE, PRIVATE, READ_ONLY, NO_SUID, NO_DEVICES = 0x4000, 0x40000, 1, 2, 4
AT_FDCWD, AT_RECURSIVE, MOUNT_SETATTR = -100, 0x8000, 442  # the call's number on every architecture
DIE_WITH_PARENT, NO_NEW_PRIVILEGES, CAPABILITIES = 1, 38, 0x20080522

FILES = {"os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate", "os.chmod"}
FILES |= {"os.chown", "os.utime", "os.setxattr", "os.removexattr", "shutil.rmtree", "shutil.move", "sqlite3.connect"}
PROGRAMS = {"os.fork", "os.forkpty", "os.exec", "os.posix_spawn", "os.system", "subprocess.Popen", "pty.spawn"}
PROCESSES = {"os.kill", "os.killpg", "signal.pthread_kill"}
BEYOND = ("ctypes.", "sys.addaudithook")


class RefusedError(PermissionError):
    """What handed-in code hears where it asks for more than it may."""


@dataclass(frozen=True)
class Limits:
    """What a check may use: seconds of processor time, and MiB of memory beyond what the server has already."""

    seconds: float = 10.0
    memory: int = 1024
    scratch: int = 64  # MiB of files

    @property
    def by_the_clock(self) -> float:
        """Seconds after which a check is ended that does not compute but wait."""
        return 3 * self.seconds + 5


def libc() -> ctypes.CDLL:
    """The C library, with its error numbers."""
    return ctypes.CDLL(None, use_errno=True)


def called(result: int, what: str) -> None:
    """OSError if a call of the C library failed."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def namespaces_work() -> str:
    """Empty if the kernel gives a sandbox of its own here; else why not."""
    if not sys.platform.startswith("linux"):
        return f"there are no namespaces on {sys.platform}"
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            isolate(Path(os.devnull), (), 1)
            os._exit(0)
        except BaseException as error:
            os.write(writing, str(error).encode()[:300])
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        why = pipe.read().decode(errors="replace")
    _, status = os.waitpid(pid, 0)
    return "" if status == 0 else why or "it ended without a word"


def isolate(scratch: Path, covered: Iterable[Path], size: int) -> None:
    """Leave the machine's namespaces for new ones; the caller goes on in a child that is the first process there.

    The parent waits, and ends as the child ends.  OSError where the kernel does not permit it.
    """
    c, user, group = libc(), os.getuid(), os.getgid()
    called(c.unshare(NEW_USER | NEW_MOUNTS | NEW_NET | NEW_PIDS | NEW_IPC | NEW_UTS), "unshare")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")

    # Nothing can be written any more, no device opened, but for a new file system in memory.
    called(c.mount(None, b"/", None, RECURSIVE | PRIVATE, None), "mount")
    wish = (ctypes.c_uint64 * 4)(READ_ONLY | NO_SUID | NO_DEVICES, 0, 0, 0)
    called(c.syscall(MOUNT_SETATTR, AT_FDCWD, b"/", AT_RECURSIVE, wish, ctypes.sizeof(wish)), "mount_setattr")
    flags = NO_SUID | NO_DEVICES
    for folder in covered:
        called(c.mount(b"none", bytes(folder), b"tmpfs", flags | READ_ONLY, b"size=4k"), f"covering {folder}")
    if scratch.is_dir():
        called(c.mount(b"none", bytes(scratch), b"tmpfs", flags, f"size={size}m".encode()), "the scratch folder")

    child = os.fork()
    if child:
        os.closerange(3, 4096)
        _, status = os.waitpid(child, 0)
        os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
    c.mount(b"proc", b"/proc", b"proc", flags | READ_ONLY, None)  # of these processes alone, where that is permitted
    called(c.prctl(DIE_WITH_PARENT, signal.SIGKILL, 0, 0, 0), "prctl")
    called(c.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0), "prctl")
    nothing = (ctypes.c_uint32 * 6)()  # without rights over the new namespaces, too, the mounts stay as they are
    called(c.capset((ctypes.c_uint32 * 2)(CAPABILITIES, 0), nothing), "capset")


def limit(limits: Limits, kernel: bool) -> None:
    """Set the limits of this process; what goes beyond them fails, or ends it.

    kernel: it is alone in its namespaces, where processes can be counted (root's are not).
    """
    used = address_space()
    bounds = {
        resource.RLIMIT_CPU: max(1, round(limits.seconds)),
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: limits.scratch * MIB,
        resource.RLIMIT_NOFILE: 128,
    }
    if kernel:
        bounds[resource.RLIMIT_NPROC] = PROCESSES_AT_MOST
    if used:
        bounds[resource.RLIMIT_AS] = used + limits.memory * MIB
    for kind, most in bounds.items():
        resource.setrlimit(kind, (most, most))


def address_space() -> int:
    """Bytes of this process's address space, or 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except OSError:
        return 0


def hook(scratch: Path, covered: Iterable[Path]) -> Callable[[str, tuple], None]:
    """What the interpreter calls before it does anything of note; it refuses what a check never needs."""
    inside, closed = os.path.realpath(scratch), tuple(os.path.realpath(folder) + os.sep for folder in covered)

    def may_write(path: object) -> bool:
        if not isinstance(path, str | bytes | os.PathLike):
            return True  # a file that is open already
        real = os.path.realpath(os.fsdecode(path))
        return real == os.devnull or real == inside or real.startswith(inside + os.sep)

    def look(event: str, given: tuple) -> None:
        if event == "open":
            path, _, flags = given
            writes = bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND))
            if writes and not may_write(path):
                raise RefusedError("a check may not write files outside its scratch folder")
            if isinstance(path, str | bytes) and closed and os.path.realpath(os.fsdecode(path)).startswith(closed):
                raise RefusedError("a check may not read the answers or what others have handed in")
        elif event in FILES:
            if not all(map(may_write, given[: 2 if event in ("os.rename", "os.link", "shutil.move") else 1])):
                raise RefusedError("a check may not change or delete files outside its scratch folder")
        elif event.startswith("socket."):
            raise RefusedError("a check may not use the network")
        elif event in PROGRAMS or event.startswith("os.spawn"):
            raise RefusedError("a check may not start processes")
        elif event in PROCESSES:
            raise RefusedError("a check may not send signals")
        elif event.startswith(BEYOND):
            raise RefusedError("a check may not reach around the interpreter")

    return look


def enter(scratch: Path, covered: Iterable[Path], limits: Limits, kernel: bool, keep: int) -> None:
    """Shut this process in, for good; of its open files only `keep` stays."""
    covered = [folder for folder in covered if folder.is_dir()]
    os.setsid()
    if sys.platform.startswith("linux"):
        called(libc().prctl(DIE_WITH_PARENT, signal.SIGKILL, 0, 0, 0), "prctl")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nowhere, number)
    os.dup2(keep, 3)
    os.closerange(4, 4096)
    if kernel:
        isolate(scratch, covered, limits.scratch)
    os.chdir(scratch)
    limit(limits, kernel)
    sys.addaudithook(hook(scratch, covered))
