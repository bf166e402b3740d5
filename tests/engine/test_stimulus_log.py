"""The stimulus log: what is read equals what was written, whole records only."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sedp.engine.events import (
    NEVER_NS,
    AnyCommand,
    AnyStimulus,
    Arrived,
    BatchFinished,
    Cancelled,
    DrainBegan,
    Finish,
    Outcome,
    PlanChanged,
    RunBatch,
    SetTimer,
    TimerFired,
)
from sedp.engine.graph import Graph, PipelineNode, StageNode, StagePlan
from sedp.engine.scheduler import Scheduler
from sedp.engine.stimulus_log import FORMAT, Header, Record, RecordedRun, StimulusLog
from sedp.errors import ConfigError
from tests.engine.dice_driver import DiceDriver
from tests.engine.random_dag import random_pipeline, random_request

GRAPH = Graph(
    (PipelineNode("rank", (0, 1), in_flight_max=7),),
    (
        StageNode("embed", 0, StagePlan(2, 512, 1000, 4096), (), (1,)),
        StageNode("score", 0, StagePlan(), (0,), ()),
    ),
)
RECORDS: list[Record] = [
    (10, Arrived(0, 0, 300, 5_000_000), [RunBatch(0, 0, (0,)), SetTimer(-1, 5_000_000)]),
    (20, BatchFinished(0), [RunBatch(1, 1, (0,))]),
    (30, BatchFinished(1, failed=True), [Finish((0,), Outcome.FAILED, 1)]),
    (30, DrainBegan(), []),
]

NUMBERS = st.integers(0, NEVER_NS)
SMALL = st.integers(-1, 100)
IDS = st.lists(NUMBERS, max_size=5).map(tuple)
STIMULI: st.SearchStrategy[AnyStimulus] = st.one_of(
    st.builds(Arrived, NUMBERS, SMALL, SMALL, NUMBERS),
    st.builds(Cancelled, NUMBERS),
    st.builds(BatchFinished, NUMBERS, st.booleans()),
    st.builds(TimerFired, SMALL),
    st.builds(PlanChanged, SMALL, st.builds(StagePlan, SMALL, SMALL, NUMBERS, SMALL)),
    st.just(DrainBegan()),
)
COMMANDS: st.SearchStrategy[AnyCommand] = st.one_of(
    st.builds(RunBatch, NUMBERS, SMALL, IDS),
    st.builds(SetTimer, SMALL, NUMBERS),
    st.builds(Finish, IDS, st.sampled_from(Outcome), SMALL),
)
RUNS = st.lists(st.tuples(NUMBERS, STIMULI, st.lists(COMMANDS, max_size=3)), max_size=20)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("logs") / "run.log"


def write(path: Path, records: list[Record], bytes_max: int = 1 << 20) -> StimulusLog:
    log = StimulusLog(path, GRAPH, bytes_max)
    for record in records:
        log.append(*record)
    log.close()
    return log


def read(path: Path) -> list[Record]:
    return list(RecordedRun.open(path).records())


@settings(max_examples=50, deadline=None)
@given(records=RUNS)
def test_what_is_read_equals_what_was_written(path: Path, records: list[Record]) -> None:
    assert not write(path, records).full
    run = RecordedRun.open(path)
    assert run.graph == GRAPH
    assert list(run.records()) == records
    assert list(run.records()) == records, "a run can be gone through again"


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_a_fresh_core_fed_with_the_log_gives_the_same_commands(path: Path, seed: int) -> None:
    dice = random.Random(seed)
    pipeline = random_pipeline(dice, 4)
    driver = DiceDriver(pipeline, dice)
    recording = RecordingScheduler(driver.scheduler.graph, path)
    driver.scheduler = recording
    for event in range(15):
        request = random_request(dice, poisonous=dice.random() < 0.1)
        driver.arrive(event, request, driver.now_ns + dice.randint(1, 300))
        driver.step()
    while driver.step():
        pass
    recording.log.close()

    run = RecordedRun.open(path)
    fresh = Scheduler(run.graph)
    for now_ns, stimulus, commands in run.records():
        assert fresh.handle(now_ns, stimulus) == commands


class RecordingScheduler(Scheduler):
    """Writes down every step, as the live driver does."""

    def __init__(self, graph: Graph, path: Path) -> None:
        super().__init__(graph)
        self.log = StimulusLog(path, graph)

    def handle(self, now_ns: int, stimulus: AnyStimulus) -> list[AnyCommand]:
        commands = super().handle(now_ns, stimulus)
        self.log.append(now_ns, stimulus, commands)
        return commands


def test_a_last_record_cut_short_is_left_out(path: Path) -> None:
    write(path, RECORDS[:-1])
    whole = path.stat().st_size
    write(path, RECORDS)
    data = path.read_bytes()
    for size in range(whole, len(data)):
        path.write_bytes(data[:size])
        assert read(path) == RECORDS[:-1]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"{}\n",
        b"\x89PNG\r\n\x1a\n",
        b'{"format": "\xff"}\n',
        b'{"format": "' + FORMAT.encode() + b'", "graph": []}\n',
    ],
)
def test_a_file_that_is_no_log_is_refused(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=r"run\.log: not a readable stimulus log"):
        RecordedRun.open(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.log: not a readable stimulus log"):
        RecordedRun.open(tmp_path / "none.log")


def test_another_format_is_refused_by_name(path: Path) -> None:
    path.write_bytes(msgspec.json.encode(Header("sedp-stimulus-log/2", GRAPH)) + b"\n")
    with pytest.raises(ConfigError, match=f"'sedp-stimulus-log/2'; this version reads '{FORMAT}'"):
        RecordedRun.open(path)


def test_a_record_that_is_no_record_is_refused(path: Path) -> None:
    write(path, RECORDS[:1])
    with path.open("ab") as file:
        file.write((3).to_bytes(4, "little") + b"\xff\xff\xff")
    with pytest.raises(ConfigError, match=r"run\.log"):
        read(path)


@settings(max_examples=60, deadline=None)
@given(bytes_max=st.integers(0, 600))
def test_the_bound_stops_recording_for_good_and_whole(path: Path, bytes_max: int) -> None:
    """Whatever the bound, the file holds the header and the first records, each complete."""
    sizes = [0]
    for count in range(len(RECORDS) + 1):
        write(path, RECORDS[:count])
        sizes.append(path.stat().st_size)
    fitting = sum(size <= bytes_max for size in sizes) - 1

    log = write(path, RECORDS, bytes_max)
    assert path.stat().st_size == sizes[fitting]
    assert log.full == (fitting <= len(RECORDS))
    if fitting:
        assert read(path) == RECORDS[: fitting - 1]


def test_after_the_bound_even_a_record_that_would_fit_is_not_written(path: Path) -> None:
    """A log with a hole could not be replayed."""
    write(path, RECORDS[:1])
    large: Record = (1, BatchFinished(0), [RunBatch(0, 0, tuple(range(100)))])
    log = write(path, [RECORDS[0], large, RECORDS[3]], path.stat().st_size + 40)
    assert log.full
    assert read(path) == RECORDS[:1]
