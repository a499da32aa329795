import pytest

from harmonia.core.errors import Cancelled
from harmonia.core.progress import say, track, watched


class Recorder:
    def __init__(self, stop_at=None):
        self.steps, self.messages, self.stop_at = [], [], stop_at

    def step(self, label, done, total):
        self.steps.append((label, done, total))
        if done == self.stop_at:
            raise Cancelled("stopped")

    def say(self, message):
        self.messages.append(message)


def test_reports_every_step():
    recorder = Recorder()
    with watched(recorder):
        assert list(track([5, 6], "Work")) == [5, 6]
        say("Done.")
    assert recorder.steps == [("Work", 0, 2), ("Work", 1, 2), ("Work", 2, 2)]
    assert recorder.messages == ["Done."]


def test_total_of_a_generator_is_unknown_unless_given():
    recorder = Recorder()
    with watched(recorder):
        list(track((i for i in range(1)), "A"))
        list(track((i for i in range(1)), "B", total=1))
    assert [total for _, _, total in recorder.steps] == [None, None, 1, 1]


def test_the_watcher_can_stop_the_work():
    done = []
    with watched(Recorder(stop_at=2)), pytest.raises(Cancelled):
        list(map(done.append, track(range(10), "Work")))
    assert done == [0, 1]


def test_nobody_watching_is_silent(capsys):
    assert list(track("ab", "Work")) == ["a", "b"]
    say("hello")
    assert capsys.readouterr().out == ""
