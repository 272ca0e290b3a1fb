"""The commands of the README, with nothing but Python 3.11 or newer:

    python3.11 .ci/dev.py serve [options]         run the service
    python3.11 .ci/dev.py settings show           look at its settings; also: check, diff, schema
    python3.11 .ci/dev.py import FILE             make links of a file
    python3.11 .ci/dev.py codes advance           after a store was restored from a backup
    python3.11 .ci/dev.py worker                  carry imports out, where the service is told not to
    python3.11 .ci/dev.py test [pytest options]   run the tests

They run in the folder of this checkout, whose settings and data they use; the tests have a virtual environment of their
own under .venv, the others share one. Each is named after the Python that runs it and installed from a lock file with
hashes, and is made again when the lock file or the Python changes, or when an install did not finish.
"""

import contextlib
import difflib
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
    **{name: ("run", ["-m", "app", name]) for name in ("serve", "settings", "import", "worker", "codes")},
    "test": ("dev", ["-m", "pytest"]),
}
ASTRA = """\
#!/bin/sh
'''exec' "{python}" "$0" "$@"
' '''
import sys
from app.cli import main
sys.exit(main())
"""
"""The command as pip would install it; a shell begins it, as the path may hold spaces."""


class SetupError(Exception):
    """Something that this command needs is not there; the text is one line for people."""


def main(arguments):
    """Run one of the commands; returns only to say why it could not."""
    if arguments[:1] in (["-h"], ["--help"]):
        print(__doc__)
        return 0
    if not arguments or arguments[0] not in COMMANDS:
        print(mistake(arguments), file=sys.stderr)
        return 2
    kind, command = COMMANDS[arguments[0]]
    try:
        python = environment(kind)
    except SetupError as error:
        print(f"dev.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("dev.py: stopped; the next run starts the install again", file=sys.stderr)
        return 130
    rest = arguments[1:] if kind == "dev" else found_from(Path.cwd(), arguments[1:])
    os.chdir(ROOT)
    sys.stdout.flush()
    return os.execv(python, [str(python), *command, *rest])


def mistake(arguments):
    """What is wrong with a command line that names no command, in one line."""
    known = ", ".join(COMMANDS)
    if not arguments:
        return f"dev.py: name a command: {known}; --help says what each does"
    near = difflib.get_close_matches(arguments[0], COMMANDS, n=1)
    remedy = f"did you mean {near[0]}?" if near else f"known: {known}"
    return f"dev.py: {arguments[0]}: unknown command; {remedy}"


def found_from(folder, arguments):
    """The arguments, each file of `folder` and the one to be made (`--report`) by its whole path."""
    if folder == ROOT:
        return arguments
    found, last = [], ""
    for argument in arguments:
        option, equals, name = argument.partition("=")
        if option == "--report" and equals:
            found.append(f"{option}={folder / name}")
        elif last == "--report" or (folder / argument).is_file():
            found.append(str(folder / argument))
        else:
            found.append(argument)
        last = argument
    return found


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
    if kind == "run":
        put_in(folder, python)
    return python


def put_in(folder, python):
    """Have the environment know this checkout: `import app` works in any folder, and `astra` is a command.

    Two small files in place of an editable install, whose build backend would come from the network.
    """
    packages = folder / "lib" / python_name() / "site-packages"
    for path, text, mode in (
        (packages / "astra.pth", f"{ROOT}\n", 0o644),
        (folder / "bin" / "astra", ASTRA.format(python=python), 0o755),
    ):
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            new = path.with_name(f"{path.name}.{os.getpid()}")
            new.write_text(text, encoding="utf-8")
            new.chmod(mode)
            new.replace(path)


def check(lock):
    """Raise what is missing on this machine, in words."""
    if not lock.is_file():
        raise SetupError(f"the lock file {lock.relative_to(ROOT)} is missing: this is not a whole checkout")
    for module in ("venv", "ensurepip"):
        if importlib.util.find_spec(module) is None:
            name = python_name()
            raise SetupError(f"{name} has no module {module}: install it (Debian, Ubuntu: apt-get install {name}-venv)")


def python_name():
    """What this Python's minor version is called."""
    return "python{}.{}".format(*sys.version_info[:2])


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
