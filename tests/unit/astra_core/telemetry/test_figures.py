"""Figures of several workers: what was shown never falls, is never lost, and never counts twice."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

import astra_core
from astra_core.errors import DefinitionError
from astra_core.telemetry import Across, Family, Kind, Metrics
from astra_core.telemetry.folder import Folder
from astra_core.telemetry.mapped import SUFFIX, WorkerFile, read_figures
from astra_core.telemetry.names import SERIES_REFUSED
from astra_core.telemetry.series import Table
from astra_core.testing import FakeClock

ROOT = Path(astra_core.__file__).parents[1]

DONE = Family(name="done", kind=Kind.COUNTER, help="Done.", labels=("what",))
TIME = Family(name="time_seconds", kind=Kind.HISTOGRAM, help="Time.", unit="seconds", buckets=(0.1, 1.0, 10.0))
USED = Family(name="used", kind=Kind.GAUGE, help="Used.")
MOST = Family(name="most", kind=Kind.GAUGE, help="Most.", across=Across.MAX)
LEAST = Family(name="least", kind=Kind.GAUGE, help="Least.", across=Across.MIN)
ABOUT = Family(name="about", kind=Kind.INFO, help="About.", labels=("version",))
FAMILIES = (DONE, TIME, USED, MOST, LEAST, ABOUT, SERIES_REFUSED)

WORKER = """
import asyncio, pathlib, sys, time
from astra_core.clock import SystemClock
from tests.unit.astra_core.telemetry.test_figures import DONE, FAMILIES, TIME, USED
from astra_core.telemetry import Metrics

metrics = Metrics(FAMILIES, clock=SystemClock(), folder=pathlib.Path(sys.argv[1]))
asyncio.run(metrics.open())
done, used = metrics.counter(DONE, "work"), metrics.gauge(USED)
used.set(5)
while True:
    done.inc()
    metrics.histogram(TIME).observe(0.5)
    metrics.publish()
    print("published", flush=True)
    time.sleep(0.002)
"""


def metrics(folder: Path | None = None, *, max_series: int = 100) -> Metrics:
    """Return the metrics of one worker."""
    return Metrics(FAMILIES, clock=FakeClock(), folder=folder, max_series=max_series)


def names_in(folder: Path) -> set[str]:
    """Return what stands in `folder`."""
    return {path.name for path in folder.iterdir()}


async def shown(one: Metrics) -> dict[str, float]:
    """Return every sample that a scrape of `one` gives, by name and labels."""
    media, body = await one.render()
    assert media.startswith("text/plain")
    return {
        sample.name + "".join(f"{{{value}}}" for value in sample.labels.values()): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


async def test_handles_move_what_is_shown() -> None:
    """A counter, a gauge, a histogram with its cumulative buckets, an info, and a figure that is looked at."""
    one, level = metrics(), [3.0]
    one.counter(DONE, "a").inc()
    one.counter(DONE, "a").inc(4)
    for value in (0.1, 0.2, 5.0, 50.0):
        one.histogram(TIME).observe(value)
    gauge = one.gauge(USED)
    gauge.set(7)
    gauge.dec(2)
    gauge.inc()
    one.info(ABOUT, "1")
    one.info(ABOUT, "2")
    one.watch(MOST, lambda: level[0])
    level[0] = 9.0
    found = await shown(one)
    assert found["done_total{a}"] == 5
    assert [found[f"time_seconds_bucket{{{le}}}"] for le in ("0.1", "1.0", "10.0", "+Inf")] == [1, 2, 3, 4]
    assert found["time_seconds_count"] == 4
    assert found["time_seconds_sum"] == pytest.approx(55.3)
    assert (found["used"], found["most"]) == (6, 9)
    assert found["about_info{2}"] == 1
    assert "about_info{1}" not in found


async def test_a_mistake_in_code_is_named_when_it_is_bound() -> None:
    """A family of no table, another kind, other labels."""
    one = metrics()
    with pytest.raises(DefinitionError, match="none of the tables"):
        one.counter(Family(name="else", kind=Kind.COUNTER, help="Else."))
    with pytest.raises(DefinitionError, match="is a gauge, not a counter"):
        one.counter(USED)
    with pytest.raises(DefinitionError, match="has the labels"):
        one.counter(DONE)


async def test_label_sets_beyond_the_bound_become_other_and_are_counted() -> None:
    """Whoever chooses label values cannot fill the memory; values are cut to 128 characters."""
    one = metrics(max_series=3)
    for number in range(10):
        one.counter(DONE, f"{number}").inc()
    one.counter(DONE, "0").inc()
    found = await shown(one)
    assert {name: value for name, value in found.items() if name.startswith("done")} == {
        "done_total{0}": 2,
        "done_total{1}": 1,
        "done_total{2}": 1,
        "done_total{other}": 7,
    }
    assert found["astra_metrics_series_refused_total{done}"] == 7
    long = metrics()
    long.counter(DONE, "x" * 1000).inc()
    assert f"done_total{{{'x' * 128}}}" in await shown(long)


async def test_an_info_is_told_as_it_is_however_often_it_changed() -> None:
    """The thousandth settings of a process are named like the first: the bound on label sets is for others' words."""
    one = metrics(max_series=3)
    for number in range(10):
        one.info(ABOUT, f"{number}")
    found = await shown(one)
    assert [name for name in found if name.startswith("about")] == ["about_info{9}"]


async def test_a_figure_that_cannot_be_read_spoils_no_other(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, and keeps what it was."""
    one = metrics()
    one.watch(MOST, lambda: 1 / 0)
    one.watch(LEAST, lambda: 4)
    found = await shown(one)
    assert (found["most"], found["least"]) == (0, 4)
    assert "most" in caplog.text


async def test_any_worker_shows_the_whole_service(tmp_path: Path) -> None:
    """Counts are summed, gauges by what their family says, and what a worker says in labels stands beside others'."""
    workers = [metrics(tmp_path) for _ in range(3)]
    for number, one in enumerate(workers, start=1):
        await one.open()
        one.counter(DONE, "a").inc(number)
        one.counter(DONE, f"only {number}").inc()
        one.histogram(TIME).observe(number)
        for family in (USED, MOST, LEAST):
            one.gauge(family).set(number)
        one.info(ABOUT, f"{number % 2}")
        one.publish()
    for one in workers:
        found = await shown(one)
        assert found["done_total{a}"] == 6
        assert found["done_total{only 2}"] == 1
        assert (found["time_seconds_count"], found["time_seconds_sum"]) == (3, 6)
        assert (found["used"], found["most"], found["least"]) == (6, 3, 1)
        assert (found["about_info{0}"], found["about_info{1}"]) == (1, 1)
    for one in workers:
        await one.close()


async def test_what_a_worker_showed_stays_when_it_goes_and_its_gauges_do_not(tmp_path: Path) -> None:
    """Closed in order, one after the other, also over a restart of the whole service."""
    one, two = metrics(tmp_path), metrics(tmp_path)
    for each in (one, two):
        await each.open()
        each.counter(DONE, "a").inc(10)
        each.gauge(USED).set(10)
        each.publish()
    await one.close()
    found = await shown(two)
    assert (found["done_total{a}"], found["used"]) == (20, 10)
    await two.close()
    three = metrics(tmp_path)
    await three.open()
    found = await shown(three)
    assert found["done_total{a}"] == 20
    assert "used" not in found
    await three.close()
    assert {name for name in names_in(tmp_path) if not name.endswith(SUFFIX)} == {"lock", "totals.json"}


async def test_a_killed_worker_loses_nothing_that_was_shown(tmp_path: Path) -> None:
    """Three workers are killed while they count; of all scrapes meanwhile no total is lower than the one before."""
    watcher = metrics(tmp_path)
    await watcher.open()
    command = [sys.executable, "-c", WORKER, str(tmp_path)]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    last = 0.0
    for killed in range(3):
        worker = await asyncio.create_subprocess_exec(*command, env=environ, stdout=PIPE, stderr=DEVNULL)
        assert worker.stdout is not None
        await worker.stdout.readline()
        before = last
        for _ in range(20):
            found = await shown(watcher)
            assert found["done_total{work}"] >= last
            # One that was killed while it published has told of the one and not yet of the other.
            assert abs(found["time_seconds_count"] - found["done_total{work}"]) <= killed
            assert found["used"] == 5
            last = found["done_total{work}"]
            await asyncio.sleep(0.002)
        assert last > before
        worker.send_signal(signal.SIGKILL)
        await worker.wait()
        found = await shown(watcher)
        assert found["done_total{work}"] >= last
        assert "used" not in found
        last = found["done_total{work}"]
    assert len([name for name in names_in(tmp_path) if name.endswith(SUFFIX)]) == 1
    await watcher.close()


def test_a_file_that_is_being_written_is_read_when_that_is_done(tmp_path: Path) -> None:
    """Whoever reads makes room for the writer, and then sees one publication; of a dead one nothing more is awaited."""
    table = Table(FAMILIES, max_series=100)
    place = table.bind(DONE, ("work",), (Kind.COUNTER,)).at
    file = WorkerFile.create(tmp_path, name="a" * 32)
    file.publish(table)
    file._begin()
    pauses: list[float] = []

    def finish(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            file._finish()
            table.values[place] = 7
            file.publish(table)

    fd = os.open(file.path, os.O_RDONLY)
    assert [one.values for one in read_figures(fd, settled=True, pause=finish)] == [(0,)]
    assert pauses == []
    assert [one.values for one in read_figures(fd, pause=finish)] == [(7,)]
    assert len(pauses) == 3
    os.close(fd)
    file.close()


def left_by_a_dead_worker(folder: Path, name: str, count: int) -> None:
    """Leave a file as a worker does that counted to `count` and was killed."""
    table = Table(FAMILIES, max_series=100)
    table.values[table.bind(DONE, ("work",), (Kind.COUNTER,)).at] = count
    file = WorkerFile.create(folder, name=name)
    file.publish(table)
    file.close()


def counted(folder: Folder) -> float:
    """Return the total of the dead."""
    totals, live = folder.read()
    assert live == []
    return sum(figures.values[0] for figures in totals)


@pytest.mark.parametrize("crash", ["totals are being written", "totals are written", "files are gone"])
def test_a_crash_while_files_are_added_up_neither_loses_nor_doubles(tmp_path: Path, crash: str) -> None:
    """Whatever of the three steps had been done: the next one who looks finishes it."""
    folder = Folder(tmp_path / "now", max_series=100)
    folder.make()
    left_by_a_dead_worker(folder.path, "a" * 32, 5)
    assert counted(folder) == 5
    left_by_a_dead_worker(folder.path, "b" * 32, 7)
    before = tmp_path / "before"
    shutil.copytree(folder.path, before)
    assert counted(folder) == 12
    match crash:
        case "totals are being written":
            half = (folder.path / "totals.json").read_bytes()[:20]
            shutil.rmtree(folder.path)
            before.rename(folder.path)
            (folder.path / "totals.json.new").write_bytes(half)
        case "totals are written":
            shutil.copy(before / ("b" * 32 + SUFFIX), folder.path)
        case "files are gone":
            pass
    assert counted(folder) == 12
    assert counted(folder) == 12
    left_by_a_dead_worker(folder.path, "c" * 32, 1)
    assert counted(folder) == 13
    assert json.loads((folder.path / "totals.json").read_text())["folded"] == ["c" * 32 + SUFFIX]


def test_a_file_that_a_crash_left_torn_is_read_as_far_as_it_is_whole(tmp_path: Path) -> None:
    """Cut or spoilt anywhere, reading it raises nothing, and gives whole series only."""
    table = Table(FAMILIES, max_series=100)
    for number in range(3):
        table.values[table.bind(DONE, (f"work {number}",), (Kind.COUNTER,)).at] = number + 1
    file = WorkerFile.create(tmp_path, name="a" * 32)
    file.publish(table)
    whole = file.path.read_bytes()[:600]
    file.close()
    other = tmp_path / "other"
    for at in range(0, 600, 7):
        for torn in (whole[:at], whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :]):
            other.write_bytes(torn)
            fd = os.open(other, os.O_RDONLY)
            found = read_figures(fd)
            os.close(fd)
            assert len(found) <= 3
            assert {figures.family for figures in found} <= {"done"}


def test_files_without_a_name_are_swept_in_time(tmp_path: Path) -> None:
    """One that a crash left is removed; one that is just being made is not."""
    old, new = tmp_path / "a.new", tmp_path / "b.new"
    for file in (old, new):
        file.touch()
    os.utime(old, (0, 0))
    Folder(tmp_path, max_series=10).make()
    assert names_in(tmp_path) == {"b.new"}


def test_a_file_grows_with_its_series(tmp_path: Path) -> None:
    """Some thousand series take more than the file began with; all of them are read."""
    table = Table(FAMILIES, max_series=5_000)
    file = WorkerFile.create(tmp_path, name="a" * 32)
    for number in range(3_000):
        table.values[table.bind(DONE, (f"work {number}",), (Kind.COUNTER,)).at] = number
        if number % 1_000 == 0:
            file.publish(table)
    file.publish(table)
    fd = os.open(file.path, os.O_RDONLY)
    found = read_figures(fd)
    os.close(fd)
    assert [figures.values for figures in found] == [(number,) for number in range(3_000)]
    file.close()


def test_a_disk_without_room_costs_new_series_alone(tmp_path: Path) -> None:
    """What has its place in the file is published on, and what is new as soon as there is room."""
    table = Table(FAMILIES, max_series=5_000)
    place = table.bind(DONE, ("old",), (Kind.COUNTER,)).at
    file = WorkerFile.create(tmp_path, name="a" * 32)
    file.publish(table)
    table.values[place] = 7
    for number in range(2_000):
        table.bind(DONE, (f"new {number}",), (Kind.COUNTER,))
    fd = os.open(file.path, os.O_RDONLY)
    most = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, most[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            file.publish(table)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, most)
        signal.signal(signal.SIGXFSZ, before)
    assert read_figures(fd)[0].values == (7,)
    assert len(read_figures(fd)) < 2_001
    file.publish(table)
    assert len(read_figures(fd)) == 2_001
    os.close(fd)
    file.close()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.floats(0, 100)), max_size=60))
async def test_however_work_is_spread_the_sum_is_that_of_one(work: list[tuple[int, float]]) -> None:
    """Three workers, one of them gone, show what a single one would."""
    with tempfile.TemporaryDirectory() as folder:
        alone, workers = metrics(), [metrics(Path(folder)) for _ in range(3)]
        for one in workers:
            await one.open()
        for number, value in work:
            for one in (alone, workers[number]):
                one.histogram(TIME).observe(value)
                one.counter(DONE, "a").inc()
        await workers[2].close()
        workers[1].publish()
        expected, found = await shown(alone), await shown(workers[0])
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert found[name] == pytest.approx(value)
        for one in workers[:2]:
            await one.close()


@pytest.mark.parametrize("broken", ["a file in its place", "it vanishes"])
async def test_a_folder_that_fails_costs_no_request(
    tmp_path: Path, broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    """This process's own figures are shown on, and one line says what is missing."""
    folder = tmp_path / "figures"
    if broken == "a file in its place":
        folder.write_text("")
    one = metrics(folder)
    await one.open()
    one.counter(DONE, "a").inc()
    if broken == "it vanishes":
        shutil.rmtree(folder)
    for _ in range(2):
        assert (await shown(one))["done_total{a}"] == 1
    assert caplog.text.count("the metrics of other workers are not shown") == 1
    await one.close()


async def test_a_moment_in_which_the_others_cannot_be_read_lets_no_total_fall(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Another process holds the lock: what was read last is shown for a minute, and read anew when that is over."""
    clock = FakeClock()
    one, two = Metrics(FAMILIES, clock=clock, folder=tmp_path, max_series=100), metrics(tmp_path)
    for each in (one, two):
        await each.open()
        each.counter(DONE, "a").inc(5)
        each.publish()
    assert (await shown(one))["done_total{a}"] == 10
    with (tmp_path / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        one.counter(DONE, "a").inc()
        assert (await shown(one))["done_total{a}"] == 11
        clock.advance(61)
        assert (await shown(one))["done_total{a}"] == 6
    assert caplog.text.count("the metrics of other workers are not shown") == 2
    two.counter(DONE, "a").inc()
    two.publish()
    assert (await shown(one))["done_total{a}"] == 12
    for each in (one, two):
        await each.close()


async def test_who_asks_at_once_shares_one_page_and_the_loop_is_let_go(tmp_path: Path) -> None:
    """A thousand series are written in pieces, once for both."""
    one = metrics(max_series=1_000)
    for number in range(1_000):
        one.counter(DONE, f"{number}").inc()
    turns = 0
    done = asyncio.Event()

    async def other() -> None:
        nonlocal turns
        while not done.is_set():
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(other())
    first, second = await asyncio.gather(one.render(), one.render())
    done.set()
    await beside
    assert first is second
    assert turns > 10


def test_metrics_of_ones_own_stand_beside_and_the_registry_shows_all() -> None:
    """What prometheus_client's own exposition makes of the registry holds both, each once."""
    from prometheus_client import Counter, generate_latest

    one = metrics()
    one.counter(DONE, "a").inc()
    Counter("mine", "Mine.", registry=one.registry).inc()
    text = generate_latest(one.registry).decode()
    assert text.count('done_total{what="a"} 1.0') == 1
    assert text.count("mine_total 1.0") == 1


async def test_another_thread_may_collect_while_the_loop_counts(tmp_path: Path) -> None:
    """As Starlette runs the instrumentator's endpoint: nothing is raised, and the file holds every series once."""
    one = metrics(tmp_path, max_series=10_000)
    await one.open()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        loop = asyncio.get_running_loop()
        collecting = loop.run_in_executor(None, lambda: [one.collect_now() for _ in range(60)])
        number = 0
        while not collecting.done():
            one.counter(DONE, f"{number % 3_000}").inc()
            one.publish()
            number += 1
            await asyncio.sleep(0)
        await collecting
    finally:
        sys.setswitchinterval(interval)
    await one.close()
    totals, _ = Folder(tmp_path, max_series=10_000).read()
    assert sum(figures.values[0] for figures in totals if figures.family == "done") == number


async def test_open_metrics_is_well_formed() -> None:
    """Asked for by `Accept`, and read by the strict parser: units, `# EOF`, help once a family."""
    from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse

    one = metrics(max_series=1_000)
    for number in range(200):
        one.counter(DONE, f'{number}"\n\\').inc()
    one.histogram(TIME).observe(3)
    media, body = await one.render("application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
    assert media.startswith("application/openmetrics-text; version=1.0.0")
    families = {family.name: family for family in parse(body.decode())}  # type: ignore[no-untyped-call]
    assert len(families["done"].samples) == 200
    assert families["time_seconds"].unit == "seconds"
