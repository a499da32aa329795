"""The band table of the public checkpoints, and bands at other sizes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from harmonia.audio.mel_roformer.bands import MEL_44100_2048_60, SPLITS, bands, mel_bands
from harmonia.core.errors import InputError

# Bins per band as the specification of the public checkpoints states them.
WIDTHS = [7, *[6] * 14, 7, 7, 7, 9, 9, 9, 10, 10, 11, 13, 13, 13, 15, 16, 17, 19, 20, 20, 22, 24, 26, 28, 29, 31, 33]
WIDTHS += [36, 39, 41, 44, 47, 50, 54, 57, 61, 66, 71, 76, 80, 86, 93, 99, 105, 113, 122, 130]


def test_the_table_is_that_of_the_public_checkpoints():
    table = bands("mel", 60, 44100, 2048)
    assert [len(band) for band in table] == WIDTHS
    assert sum(WIDTHS) == 1979
    assert [table[k] for k in (0, 1, 10, 30, 59)] == [
        range(0, 7), range(4, 10), range(31, 37), range(126, 145), range(895, 1025)
    ]  # fmt: skip
    owners = np.zeros(1025, dtype=int)
    for band in table:
        owners[band] += 1
    assert set(owners) == {1, 2}


def test_the_table_follows_from_the_mel_scale():
    assert mel_bands(60, 44100, 2048) == tuple(range(a, b + 1) for a, b in MEL_44100_2048_60)


def test_the_heuristic_split_is_bs_roformers():
    widths = [len(band) for band in bands("heuristic", 62, 44100, 2048)]
    assert widths == [2] * 24 + [4] * 12 + [12] * 8 + [24] * 8 + [48] * 8 + [128, 129]


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize(
    ("num_bands", "rate", "n_fft"), [(24, 16000, 1024), (60, 48000, 2048), (32, 24000, 1024), (60, 44100, 4096)]
)
def test_every_bin_has_a_band_and_only_mel_bands_overlap(split, num_bands, rate, n_fft):
    table = bands(split, num_bands, rate, n_fft)
    assert len(table) == num_bands
    assert sorted(set().union(*table)) == list(range(n_fft // 2 + 1))
    for lower, higher in pairwise(table):
        assert (higher.start < lower.stop) == (split == "mel")
    for lower, higher in zip(table, table[2:], strict=False):
        assert higher.start >= lower.stop


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("num_bands", [0, 400])
def test_too_many_or_no_bands_are_refused(split, num_bands):
    with pytest.raises(InputError, match="bands"):
        bands(split, num_bands, 16000, 512)
