"""Excerpts and snippets: what is told of them is what sounds."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harmonia.core.errors import InputError
from harmonia.data.render import render_excerpt, render_snippets, write_excerpts
from harmonia.media import Audio
from harmonia.parts.constant_q import ConstantQ

pytestmark = pytest.mark.debian


def classes(sound, cents=0.0):
    """Energy of each pitch class."""
    constant_q = ConstantQ(24000, 600, 65.406 * 2 ** (cents / 1200), 5 * 12, 12, filter_scale=2.0)
    energy = constant_q(torch.from_numpy(np.asarray(sound))).abs().square().sum(-1)
    return energy.reshape(-1, 12).sum(0).numpy()


def test_the_same_arguments_give_the_same_bits_and_splits_differ():
    one, other = (render_excerpt(3, "train", seconds=4) for _ in range(2))
    assert np.array_equal(one.audio.samples, other.audio.samples)
    assert (one.key, one.cents) == (other.key, other.cents)
    assert one.audio.samples.shape == (1, 96_000)
    assert not np.array_equal(one.audio.samples, render_excerpt(3, "test", seconds=4).audio.samples)


def test_chords_lie_in_time_and_sound():
    hits = []
    for seed in range(4):
        excerpt = render_excerpt(seed, "train", seconds=6)
        assert -30 <= excerpt.cents <= 30
        assert 0 <= excerpt.key < 24
        assert excerpt.chords[0][0] == 0
        assert all(a[1] == pytest.approx(b[0]) for a, b in zip(excerpt.chords, excerpt.chords[1:], strict=False))
        assert excerpt.chords[-1][1] <= 6
        names = ("C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B")
        for onset, offset, label in excerpt.chords:
            if offset - onset > 0.8:
                root = names.index(label.split(":")[0])
                heard = classes(excerpt.audio.cut(onset, offset).samples[0], excerpt.cents)
                hits.append(bool(np.argsort(heard)[-4:].tolist().count(root)))
    assert np.mean(hits) > 0.8


def test_snippets_have_their_pitches():
    found = render_snippets(0, [[60], [64], [67], [60, 64, 67]], seconds=0.8)
    assert found.shape == (4, 19_200)
    assert [int(classes(snippet).argmax()) for snippet in found[:3]] == [0, 4, 7]
    assert set(np.argsort(classes(found[3]))[-3:].tolist()) == {0, 4, 7}
    assert np.abs(found[:, -200:]).max() < 0.1 * np.abs(found).max()


def test_rendered_excerpts_are_kept(tmp_path):
    paths = write_excerpts(tmp_path, "test", 2, seconds=2.0)
    assert [path.name for path in paths] == ["00000.flac", "00001.flac"]
    before = paths[0].stat().st_mtime_ns
    write_excerpts(tmp_path, "test", 2, seconds=2.0)
    assert paths[0].stat().st_mtime_ns == before
    again = render_excerpt(1, "test", seconds=2.0).audio.samples
    assert np.abs(Audio.read(paths[1]).samples - again).max() < 1e-6


@pytest.mark.parametrize(
    "call",
    [
        lambda: render_excerpt(0, "dev"),
        lambda: render_excerpt(0, seconds=1.0),
        lambda: render_snippets(0, []),
        lambda: render_snippets(0, [[60]], seconds=0.1),
    ],
    ids=["split", "length", "none", "short"],
)
def test_bad_arguments_are_refused(call):
    with pytest.raises(InputError):
        call()
