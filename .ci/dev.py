"""The two commands of the README, with nothing but Python 3.11 or newer:

    python3.11 .ci/dev.py serve [options]         run the service
    python3.11 .ci/dev.py test [pytest options]   run the tests

Each keeps a virtual environment of its own under .venv, named after the Python that runs it and installed from a lock
file with hashes. It is made again when the lock file or the Python changes, or when an install did not finish.
"""

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST = (3, 11)
COMMANDS = {
    "serve": ("run", ["-m", "app", "serve"]),
    "test": ("dev", ["-m", "pytest"]),
}


class SetupError(Exception):
    """Something that this command needs is not there; the text is one line for people."""


def main(arguments):
    """Run one of the commands; returns only to say why it could not."""
    if not arguments or arguments[0] not in COMMANDS:
        print(__doc__, file=sys.stdout if arguments[:1] in (["-h"], ["--help"]) else sys.stderr)
        return 0 if arguments[:1] in (["-h"], ["--help"]) else 2
    kind, command = COMMANDS[arguments[0]]
    try:
        python = environment(kind)
    except SetupError as error:
        print(f"dev.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("dev.py: stopped; the next run starts the install again", file=sys.stderr)
        return 130
    os.chdir(ROOT)
    sys.stdout.flush()
    return os.execv(python, [str(python), *command, *arguments[1:]])


def environment(kind):
    """The Python of the virtual environment `kind`, installed if need be."""
    lock = ROOT / ".ci" / "lock" / f"{kind}.txt"
    check(lock)
    folder = ROOT / ".venv" / f"{kind}-{sys.version_info.major}.{sys.version_info.minor}"
    python, stamp = folder / "bin" / "python", folder / "installed"
    wanted = fingerprint(lock)
    if not installed(stamp, wanted):
        folder.parent.mkdir(exist_ok=True)
        with exclusive(folder.with_suffix(folder.suffix + ".lock")):
            if not installed(stamp, wanted):
                install(folder, python, lock)
                stamp.write_text(wanted, encoding="ascii")
    return python


def check(lock):
    """Raise what is missing on this machine, in words."""
    if not lock.is_file():
        raise SetupError(f"the lock file {lock.relative_to(ROOT)} is missing: this is not a whole checkout")
    for module in ("venv", "ensurepip"):
        if importlib.util.find_spec(module) is None:
            name = "python{}.{}".format(*sys.version_info[:2])
            raise SetupError(f"{name} has no module {module}: install it (Debian, Ubuntu: apt-get install {name}-venv)")


def fingerprint(lock):
    """What the environment depends on: the pins, this Python's exact version and where it stands."""
    digest = hashlib.sha256(lock.read_bytes())
    digest.update(f"{sys.version}\n{os.path.realpath(sys.executable)}".encode())
    return digest.hexdigest()


def installed(stamp, wanted):
    """Whether the last install finished, and was this one."""
    try:
        return stamp.read_text(encoding="ascii") == wanted
    except OSError:
        return False


@contextlib.contextmanager
def exclusive(path):
    """One install at a time; the lock ends with the process, however it ends."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def install(folder, python, lock):
    """Make the environment from nothing: what an unfinished or older install left is not trusted."""
    where, pins = folder.relative_to(ROOT), lock.relative_to(ROOT)
    if folder.exists():
        step(f"removing the old {where}", lambda: shutil.rmtree(folder))
    version = "{}.{}.{}".format(*sys.version_info[:3])
    step(f"making {where} with Python {version}", lambda: run([sys.executable, "-m", "venv", str(folder)]))
    pip = [str(python), "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]
    step(f"installing {pins}", lambda: run([*pip, "--require-hashes", "--no-deps", "-r", str(lock)]))


def step(what, act):
    """Say what is done, do it, say how long it took."""
    print(f"dev.py: {what} ...", end="", flush=True)
    begin = time.monotonic()
    try:
        act()
    except BaseException:
        print(flush=True)
        raise
    print(f" {time.monotonic() - begin:.1f} s", flush=True)


def run(command):
    """Run a program quietly; its output is shown when it fails."""
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        print(f"\n{done.stdout}{done.stderr}".rstrip(), file=sys.stderr)
        raise SetupError(f"`{' '.join(Path(part).name for part in command[:4])}` failed with code {done.returncode}")


if __name__ == "__main__":
    if sys.version_info < OLDEST:
        sys.exit("dev.py: this needs Python {}.{} or newer, not {}.{}".format(*OLDEST, *sys.version_info[:2]))
    sys.exit(main(sys.argv[1:]))
