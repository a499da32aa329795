import importlib.util
import math
import time

import pytest

from harmonia.core.errors import InputError
from harmonia.core.registry import find
from harmonia.core.scale import Ledger, map_blocks

BLOCKS = [0.1, 0.7, 2.5, 3.3, 9.1]


def slow_first(block: int) -> int:
    time.sleep(0.05 if block == 0 else 0)
    return block


@pytest.mark.parametrize("engine", ["serial", "threads", "processes"])
def test_every_engine_gives_the_same_bits_in_order(engine):
    assert list(map_blocks(math.sin, BLOCKS, engine=engine, workers=2)) == [math.sin(block) for block in BLOCKS]
    assert list(map_blocks(math.sin, [], engine=engine)) == []


def test_a_slow_block_keeps_its_place():
    assert list(map_blocks(slow_first, range(4), engine="threads", workers=2)) == [0, 1, 2, 3]


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs ray (extra `scale`)")
def test_ray_gives_the_same_bits_in_order():
    import ray

    def work(block: float) -> float:  # local, so that it travels by value: packages bring modules named `tests` too
        return math.sin(block) ** 3

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        assert list(map_blocks(work, BLOCKS, engine="ray", workers=2)) == [work(block) for block in BLOCKS]
        assert list(map_blocks(work, BLOCKS, engine="ray", workers=10)) == [work(block) for block in BLOCKS]
        assert list(map_blocks(work, [], engine="ray")) == []
    finally:
        ray.shutdown()


@pytest.mark.parametrize("engine", ["serial", "threads", "processes"])
def test_errors_keep_their_words(engine):
    with pytest.raises(InputError, match="there is no such method"):
        list(map_blocks(find, ["no-such-method"], engine=engine, workers=2))


def test_bad_arguments():
    with pytest.raises(InputError, match="Use one of: serial, threads, processes, ray"):
        map_blocks(math.sin, BLOCKS, engine="cloud")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="at least 1"):
        map_blocks(math.sin, BLOCKS, workers=0)


def test_a_ledger_survives(tmp_path):
    path = tmp_path / "new" / "done.txt"
    ledger = Ledger(path)
    assert len(ledger) == 0
    ledger.add("a b")
    ledger.add("c")
    again = Ledger(path)
    assert "a b" in again
    assert "c" in again
    assert len(again) == 2
    with pytest.raises(InputError):
        again.add("two\nlines")


def test_a_line_cut_off_by_a_crash_is_not_a_finished_block(tmp_path):
    path = tmp_path / "done.txt"
    path.write_text("a\nb\nunfin")
    ledger = Ledger(path)
    assert "unfin" not in ledger
    assert "unfinished" not in ledger
    ledger.add("c")
    assert path.read_text() == "a\nb\nc\n"
