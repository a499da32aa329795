"""BTC: its oddities written out, time's two directions, blocks of ten seconds, public checkpoints."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from harmonia.audio.unified_mer.btc import (
    BLOCK_FRAMES,
    BTC,
    FRAME_SECONDS,
    RATE,
    BTCConfig,
    _blocks,
    _Norm,
    _timing,
    chord_of_class,
)
from harmonia.core.errors import WeightsError
from harmonia.parts.harmony import QUALITIES

SMALL = BTCConfig(width=16, layers=2)


def seeded(config: BTCConfig = SMALL) -> BTC:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return BTC(config).eval()


def published(model: BTC) -> dict:
    """What a public file holds: an unused LSTM, statistics as numpy's numbers, and more."""
    width = model.config.width
    lstm = torch.nn.LSTM(width, width // 2, batch_first=True, bidirectional=True)
    state = model.state_dict() | {f"output_layer.lstm.{key}": value for key, value in lstm.state_dict().items()}
    return {"model": state, "mean": np.float64(-2.5), "std": np.float32(1.5), "optimizer": {}, "epoch": 3}


def test_the_norm_divides_by_the_unbiased_deviation() -> None:
    x = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
    rows = x.numpy().astype(np.float64)
    expected = (rows - rows.mean(1, keepdims=True)) / (rows.std(1, ddof=1, keepdims=True) + 1e-6)
    assert np.abs(_Norm(7)(x).detach().numpy() - expected).max() < 1e-6


def test_the_timing_signal_has_rates_from_one_to_a_ten_thousandth() -> None:
    found = _timing(50, 128).numpy()
    for k, rate in ((0, 1.0), (63, 1e-4), (21, 1e-4 ** (21 / 63))):
        assert found[49, k] == pytest.approx(np.sin(49 * rate), abs=1e-4)
        assert found[49, 64 + k] == pytest.approx(np.cos(49 * rate), abs=1e-4)


def test_one_stack_sees_the_past_and_the_other_the_future() -> None:
    pair = seeded().self_attn_layers.self_attn_layers[0]
    x = torch.randn(1, 30, 16, generator=torch.Generator().manual_seed(1))
    changed = x.clone()
    changed[:, 15] = x[:, 15].flip(-1)
    with torch.no_grad():
        forward = (pair.attn_block(changed) - pair.attn_block(x)).abs().amax((0, 2))
        backward = (pair.backward_attn_block(changed) - pair.backward_attn_block(x)).abs().amax((0, 2))
    reach = 2  # two convolutions of three frames look one frame ahead each
    assert forward[: 15 - reach].max() == 0
    assert backward[16 + reach :].max() == 0
    assert forward[15:].min() > 0
    assert backward[:16].min() > 0


def test_the_backward_stack_is_the_forward_one_in_reversed_time() -> None:
    pair = seeded().self_attn_layers.self_attn_layers[0]
    own = pair.attn_block.multi_head_attention
    other = pair.backward_attn_block.multi_head_attention
    other.load_state_dict(own.state_dict())
    x = torch.randn(1, 20, 16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.equal(other(x), own(x.flip(1)).flip(1))


@pytest.mark.parametrize("number", [0, 1, 13, 14, 135, 167, 168, 169])
def test_classes_name_chords(number: int) -> None:
    qualities = list(QUALITIES)
    expected = (None, "N") if number >= 168 else (number // 14, qualities[number % 14])
    assert chord_of_class(number) == expected


@pytest.mark.parametrize("seconds", [0.5, 10.0, 10.2, 25.0, 40.0])
def test_blocks_are_those_of_ten_second_pieces_taken_alone(seconds: float) -> None:
    sound = np.random.default_rng(0).normal(size=round(seconds * RATE)).astype(np.float32)
    blocks = [block for group in _blocks(sound, 144) for block in group]
    size = 10 * RATE
    pieces = [sound[start : start + size] for start in range(0, len(sound), size)]
    assert [len(block) for block in blocks] == [1 + len(piece) // 2048 for piece in pieces]
    assert len(blocks[0]) == (BLOCK_FRAMES if seconds >= 10 else 1 + len(sound) // 2048)
    last = next(iter(_blocks(pieces[-1], 144)))[-1]
    assert (last - blocks[-1]).abs().max() < 1e-3


def test_chords_cover_the_song_without_gaps(tmp_path: Path) -> None:
    model = seeded()
    sound = 0.1 * np.random.default_rng(0).normal(size=15 * RATE)
    chords = model.chords(sound)
    assert chords[0].onset == 0.0
    assert all(a.offset == b.onset and a.label != b.label for a, b in pairwise(chords) if a.root is not None)
    assert chords[-1].offset == pytest.approx((108 + 54) * FRAME_SECONDS)


def test_a_public_checkpoint_is_read_without_running_anything(tmp_path: Path) -> None:
    model = seeded()
    path = tmp_path / "btc_model_large_voca.pt"
    torch.save(published(model), path)
    read = BTC.from_checkpoint(path)
    assert (read.mean, read.deviation) == (-2.5, 1.5)
    assert read.config == SMALL.__class__(width=16, layers=2)
    x = torch.randn(2, 108, 144, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        assert torch.equal(read(x), model(x))


def broken(change):
    content = published(seeded())
    change(content)
    return content


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["model"].pop("self_attn_layers.layer_norm.gamma"), "lack"),
        (lambda c: c["model"].update({"crf.transitions": torch.zeros(3)}), "which the network lacks"),
        (lambda c: c["model"].update({"self_attn_layers.layer_norm.beta": torch.zeros(3)}), "another shape"),
        (lambda c: c["model"].pop("output_layer.output_projection.bias"), "not the weights of BTC"),
        (lambda c: c.pop("mean"), "lacks 'mean'"),
        (lambda c: c.update(std=np.float64(0.0)), "usable"),
        (lambda c: c.update(mean=np.float64("nan")), "usable"),
    ],
    ids=["missing", "unknown", "shape", "other network", "no mean", "no deviation", "NaN"],
)
def test_checkpoints_that_do_not_fit_are_refused(tmp_path: Path, change, message: str) -> None:
    path = tmp_path / "btc.pt"
    torch.save(broken(change), path)
    with pytest.raises(WeightsError, match=message):
        BTC.from_checkpoint(path)


def test_files_that_would_run_programs_are_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self):
            return (print, ("run",))

    path = tmp_path / "btc.pt"
    torch.save(published(seeded()) | {"evil": Evil()}, path)
    with pytest.raises(WeightsError, match="run any program"):
        BTC.from_checkpoint(path)
    (tmp_path / "text.pt").write_text("no weights")
    with pytest.raises(WeightsError):
        BTC.from_checkpoint(tmp_path / "text.pt")
