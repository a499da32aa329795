"""The estimator: learning from a manifest, checkpoints, beliefs, grounding, and what is no voice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from harmonia.audio.s2cap.assembly import SMALLEST
from harmonia.audio.s2cap.attributes import LEXICON, parse_attributes
from harmonia.audio.s2cap.captioner import NOBODY, SingingStyleCaptioner, sentence
from harmonia.audio.s2cap.decoding import Grounding
from harmonia.audio.s2cap.examples import Drawer, Examples, prepare
from harmonia.audio.s2cap.hearing import _windows
from harmonia.audio.s2cap.manifest import Clip, read_manifest
from harmonia.audio.s2cap.small import LogMelEncoder, SmallConfig
from harmonia.core.errors import InputError, WeightsError
from harmonia.core.weights import write_safetensors
from harmonia.data import demo_truth
from harmonia.media import Audio

TINY = SmallConfig(dim=16, encoder_layers=1, decoder_layers=1, heads=2, vocabulary=300, max_length=64)
CAPTIONS = ("A woman sings quietly, bright and calm.", "A man sings loudly at a fast tempo.")


def manifest(folder: Path, count: int = 4) -> Path:
    song = demo_truth()
    rows = ["path,caption,vocals_path,tempo,mood,genre,gender"]
    for number in range(count):
        part = (2.0 + number, 4.0 + number)
        song.mixture.cut(*part).write(folder / f"{number}.flac")
        song.stems["vocals"].cut(*part).write(folder / f"{number}_v.flac")
        gender = ("female", "male")[number % 2]
        rows.append(f'{number}.flac,"{CAPTIONS[number % 2]}",{number}_v.flac,fast,sad,rock,{gender}')
    (folder / "list.csv").write_text("\n".join(rows) + "\n")
    return folder / "list.csv"


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[SingingStyleCaptioner, list[Clip]]:
    clips = read_manifest(manifest(tmp_path_factory.mktemp("clips")))
    captioner = SingingStyleCaptioner(config=TINY, seconds=2.0, steps=3, batch=2, device="cpu", confidence=0.0)
    return captioner.fit(clips, held_out=clips[:2]), clips


def test_fitting_twice_gives_the_same_weights(fitted) -> None:
    captioner, clips = fitted
    again = clone(captioner).fit(clips)
    for one, two in zip(captioner.network_.parameters(), again.network_.parameters(), strict=True):
        assert torch.equal(one, two)


def test_captions_state_what_the_head_believes(fitted) -> None:
    captioner, clips = fitted
    beliefs = captioner.beliefs([clip.path for clip in clips])
    texts = captioner.captions(beliefs)
    for belief, text in zip(beliefs, texts, strict=True):
        if text != NOBODY:
            values, _ = belief.best()
            assert all(values[name] == value for name, value in parse_attributes(text).items())
    assert set(captioner.trained_.history[-1]) >= {"cider_d", "attribute_f1", "hallucination"}


def test_measured_attributes_win_over_beliefs(fitted) -> None:
    captioner, clips = fitted
    (belief,) = captioner.beliefs([clips[0].path])
    certain = type(belief)(belief.memory, belief.attributes, 1.0)
    other = "male" if belief.best()[0]["gender"] == "female" else "female"
    (text,) = captioner.captions([certain], [{"gender": other}])
    assert parse_attributes(text)["gender"] == other


def test_what_is_not_sure_is_neither_stated_nor_required(fitted) -> None:
    captioner, clips = fitted
    (belief,) = captioner.beliefs([clips[0].path])
    strict = SingingStyleCaptioner(confidence=1.01, without=("age",))
    grounding = strict.grounding(belief, {"pitch": "low"})
    assert grounding == Grounding({name: ["low"] if name == "pitch" else [] for name in LEXICON}, ["pitch"])


def test_a_checkpoint_brings_the_same_captions(fitted, tmp_path: Path) -> None:
    captioner, clips = fitted
    path = captioner.checkpoint({"clips": 4}).write(tmp_path / "c.safetensors")
    again = SingingStyleCaptioner.from_pretrained(str(path), confidence=0.0, seconds=2.0, device="cpu")
    assert again.tokenizer_.merges == captioner.tokenizer_.merges
    one, two = (c.beliefs([clips[0].path])[0] for c in (captioner, again))
    assert one.voice == pytest.approx(two.voice, abs=0.01)


def test_other_weights_are_refused(fitted, tmp_path: Path) -> None:
    captioner, _ = fitted
    checkpoint = captioner.checkpoint({})
    for name, tensors in {
        "less": dict(list(checkpoint.tensors.items())[1:]),
        "more": {**checkpoint.tensors, "extra": torch.zeros(1)},
    }.items():
        path = write_safetensors(tmp_path / f"{name}.safetensors", tensors, checkpoint.metadata)
        with pytest.raises(WeightsError):
            SingingStyleCaptioner.from_pretrained(str(path))
    path = write_safetensors(tmp_path / "plain.safetensors", checkpoint.tensors)
    with pytest.raises(WeightsError, match="captioner"):
        SingingStyleCaptioner.from_pretrained(str(path))


def test_batches_do_not_mix_clips_up(fitted) -> None:
    captioner, clips = fitted
    paths = [clips[0].path, Audio.read(clips[1].path).cut(0.0, 1.3), clips[2].path, clips[1].path]
    together = captioner.beliefs(paths)
    for path, belief in zip(paths, together, strict=True):
        (alone,) = captioner.beliefs([path])
        assert belief.voice == pytest.approx(alone.voice, abs=1e-4)
        assert torch.allclose(belief.memory, alone.memory, atol=1e-4)


def test_windows_cover_the_sound_and_end_with_it() -> None:
    sound = torch.arange(10.0)[None]
    assert [window[0].tolist() for window in _windows(sound, 4)] == [[0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8, 9]]
    assert _windows(sound, 12)[0][0].tolist() == [*range(10), 0, 0]


def test_silence_is_no_voice() -> None:
    (caption,) = SingingStyleCaptioner.from_pretrained(device="cpu").predict([Audio(np.zeros(16000 * 7), 16000)])
    assert caption == (type(caption))(NOBODY, {}, {}, 0.0)


def test_voices_are_put_over_backings_that_tell_the_same() -> None:
    labels = {"tempo": [0, 0, 1, -1], "mood": [0] * 4, "genre": [0] * 4, "volume": [0] * 4}
    features = torch.arange(4.0)[:, None, None].expand(4, 8, 8).half()
    examples = Examples(
        features, features, features, [[[5]]] * 4, {name: torch.tensor(rows) for name, rows in labels.items()}
    )
    partners = Drawer(examples, (0, 1, 2))._partners(torch.tensor([0] * 40 + [2, 3]), torch.Generator().manual_seed(0))
    assert set(partners[:40].tolist()) == {0, 1}
    assert partners[40:].tolist() == [2, 3]


def test_a_clip_may_begin_anywhere() -> None:
    features = torch.arange(12.0).expand(1, 3, 12).half()
    examples = Examples(features, None, None, [[[5]]], {})
    whole, rolled = (
        Drawer(examples, (0, 1, 2), batch=2, rolled=rolled, mask=0.0)(torch.Generator().manual_seed(1)).mix
        for rolled in (False, True)
    )
    start = int(rolled[0, 0, 0])
    assert start > 0
    assert torch.equal(whole, features.expand(2, -1, -1))
    assert torch.equal(rolled, torch.cat([whole[..., start:], whole[..., :start]], dim=2))


def test_masks_hide_a_stretch_and_leave_the_rest() -> None:
    features = torch.randn(2, 20, 30, generator=torch.Generator().manual_seed(0))
    examples = Examples(features, None, None, [[[5]]] * 2, {})
    masked = Drawer(examples, (0, 1, 2), mask=0.5)._masked(features, torch.Generator().manual_seed(3))
    same = masked == features
    rows, columns = (~same).all(2).any(0), (~same).all(1).any(0)
    assert same[:, ~rows][:, :, ~columns].all()
    assert same.float().mean() > 0.2


def test_longer_clips_give_their_middle(tmp_path: Path) -> None:
    Audio(np.arange(32000) / 64000, 16000).write(tmp_path / "a.wav")
    clip = Clip(tmp_path / "a.wav", 0.0, None, ("x",), {})
    encoder = LogMelEncoder(TINY)
    made = prepare(encoder, [clip], lambda text: [5], seconds=1.0, max_length=4)
    middle = torch.arange(8000, 24000)[None] / 64000
    assert torch.allclose(made.mix[0].float(), encoder.features(middle)[0], atol=2e-3)


@pytest.mark.parametrize(
    ("change", "match"),
    [({"encoder": "cnn"}, "encoder"), ({"decoder": "gpt"}, "decoder")],
    ids=["encoder", "decoder"],
)
def test_unknown_parts_are_refused(fitted, change: dict[str, str], match: str) -> None:
    with pytest.raises((InputError, TypeError), match=match):
        SingingStyleCaptioner(config=TINY, steps=1, **change).fit(fitted[1])


def test_bad_use_is_refused(fitted) -> None:
    captioner, clips = fitted
    with pytest.raises(NotFittedError):
        SingingStyleCaptioner().predict([clips[0].path])
    with pytest.raises(InputError, match="nothing to describe"):
        captioner.predict([])
    with pytest.raises(InputError, match="learn from"):
        SingingStyleCaptioner(config=TINY).fit([])
    with pytest.raises(InputError, match="too long"):
        prepare(LogMelEncoder(TINY), clips[:1], lambda text: [5] * 90, seconds=1.0, max_length=64)


def test_sentences_begin_and_end_as_they_should() -> None:
    assert sentence("") == ""
    assert sentence("a man sings.") == "A man sings."


def test_the_embedded_size_is_stated() -> None:
    network = SingingStyleCaptioner.from_pretrained(device="cpu").network_
    assert network.encoder.config.dim == SMALLEST.dim
