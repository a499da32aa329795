"""Jobs of S2Cap: describe a song, build a captioned data set from a folder, train a captioner."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypedDict

import polars

from harmonia.audio.s2cap import report
from harmonia.audio.s2cap.analysis import Described, clips_of, default_separator, describe, listen
from harmonia.audio.s2cap.assembly import SMALLEST
from harmonia.audio.s2cap.attributes import LEXICON
from harmonia.audio.s2cap.builder import StyleDatasetBuilder
from harmonia.audio.s2cap.captioner import NOBODY, SingingStyleCaptioner
from harmonia.audio.s2cap.manifest import read_manifest
from harmonia.audio.s2cap.measures import RENDERED
from harmonia.audio.s2cap.small import SmallConfig
from harmonia.core.errors import InputError
from harmonia.core.progress import say
from harmonia.core.task import Field
from harmonia.core.weights import Checkpoint
from harmonia.data import demo_song
from harmonia.media import Figure, Table, Text
from harmonia.parts.sound_stream import SoundSource

SIZES = {"small": SMALLEST, "medium": SmallConfig()}

Song = Annotated[SoundSource, Field("the song, any length, mono or stereo", example=lambda: SoundSource(demo_song()))]
Weights = Annotated[str, Field("captioner: embedded (small, trained on rendered singing), or a file made by train")]
Separation = Annotated[
    str, Field("separation weights of mel-roformer: embedded, a file, or hub:<repo>/<file>; none for a voice alone")
]
Unsaid = Annotated[Literal["", "age", "gender", "age,gender"], Field("attributes of the person to leave out")]
Device = Annotated[Literal["auto", "cpu", "cuda"], Field("where to compute")]


class Captioned(TypedDict):
    caption: Annotated[Text, Field("a sentence for each clip")]
    clips: Annotated[Table, Field("times, caption, attributes with confidences, F0, level, tempo")]
    report: Annotated[Figure, Field("clips, pitch with its bands, level, attributes")]


class Built(TypedDict):
    captions: Annotated[Table, Field("one row a clip; the same as captions.csv in the data set's folder")]
    report: Annotated[Figure, Field("how often each attribute value occurs")]


class Learnt(TypedDict):
    weights: Annotated[Checkpoint, Field("the captioner with its tokenizer and configuration")]
    report: Annotated[Figure, Field("loss and held-out scores over the run")]


def caption(
    song: Song,
    *,
    weights: Weights = "embedded",
    separation: Separation = "embedded",
    shortest: Annotated[float, Field("shortest clip", unit="s", ge=1)] = 5.0,
    longest: Annotated[float, Field("longest clip, at least twice the shortest", unit="s", gt=2, le=60)] = 15.0,
    confidence: Annotated[float, Field("probability from which an attribute may be stated", ge=0, le=1)] = 0.5,
    wording: Annotated[
        Literal["grammar", "captioner"],
        Field("captioner: the trained decoder's, bound to the same attributes"),
    ] = "grammar",
    without: Unsaid = "",
    device: Device = "auto",
) -> Captioned:
    """Describe the lead singer of a song: a sentence for each clip, with the attributes behind it.

    The voice is separated, the lead singer's stretches are cut into clips, pitch, level and tempo are measured, and
    attribute models name the rest. Captions state what is measured or believed enough, and nothing else. Low, normal
    and high refer to rendered singing, since one song is no population. Where nobody sings, the result says so. Gender
    and age are how the voice is perceived, and can be left out.
    """
    unsaid = tuple(filter(None, without.split(",")))
    captioner = None
    if wording == "captioner":
        captioner = SingingStyleCaptioner.from_pretrained(weights, confidence=confidence, without=unsaid, device=device)
    heard = listen(song, None if separation == "none" else default_separator(separation, device))
    clips = clips_of(heard, shortest, longest)
    described = describe(heard, clips, captioner, confidence=confidence, without=unsaid)
    found = [clip for clip in described if clip.text != NOBODY]
    if not found:
        say(NOBODY)
    else:
        say(f"Low, normal and high refer to {RENDERED.population}.")
    return {
        "caption": Text("\n".join(clip.text for clip in found) or NOBODY),
        "clips": _table(described),
        "report": report.description(heard, described, RENDERED),
    }


def build(
    folder: Annotated[Path, Field("songs, in any depth")],
    *,
    dataset: Annotated[str, Field("folder for clips/ and captions.csv")] = "dataset",
    metadata: Annotated[Path | None, Field("csv with file and any of artist, genre, birth_year, duration")] = None,
    separation: Separation = "embedded",
    shortest: Annotated[float, Field("shortest clip", unit="s", ge=1)] = 5.0,
    longest: Annotated[float, Field("longest clip, at least twice the shortest", unit="s", gt=2, le=60)] = 30.0,
    without: Unsaid = "",
    device: Device = "auto",
    seed: Annotated[int, Field("random seed of the captions' wording")] = 0,
) -> Built:
    """Build a data set of clips, attributes and captions from your own songs, without any cloud service.

    Clips of the lead singer, as mixture and as separated voice, with measured pitch, level and tempo, and captions that
    state all six mandatory attributes and name no artist. Pitch levels are quantiles of each gender of your own set.
    """
    unsaid = tuple(filter(None, without.split(",")))
    builder = StyleDatasetBuilder(
        separator=(lambda mixture: mixture) if separation == "none" else default_separator(separation, device),
        shortest=shortest,
        longest=longest,
        without=unsaid,
        seed=seed,
    )
    frame = builder.build(folder, Path(dataset).expanduser(), metadata)
    say(f"{len(frame)} clips of {frame['song'].n_unique()} songs are in {dataset}.")
    return {"captions": Table(frame), "report": report.population(frame.to_dict(as_series=False))}


def train(
    manifest: Annotated[Path, Field("csv: path, caption[, begin, end, vocals_path, attributes], or S2Cap's own")],
    *,
    audio: Annotated[Path | None, Field("folder of the sound files; that of the csv when not given")] = None,
    held_out: Annotated[Path | None, Field("csv of clips to measure on; else the last tenth of the manifest")] = None,
    size: Annotated[Literal["small", "medium"], Field("network")] = "small",
    steps: Annotated[int, Field("optimizer steps", ge=1)] = 1000,
    batch: Annotated[int, Field("clips a step", ge=1)] = 32,
    learning_rate: Annotated[float, Field("peak learning rate", gt=0)] = 1e-3,
    crescendo: Annotated[float, Field("weight of the alignment with the caption", ge=0)] = 1.0,
    demix: Annotated[float, Field("weight of the demix supervision; needs vocals_path", ge=0)] = 1.0,
    attributes: Annotated[float, Field("weight of the attribute head", ge=0)] = 1.0,
    evaluate_every: Annotated[int, Field("steps between two measurements", ge=1)] = 200,
    keep: Annotated[str, Field("folder for checkpoints; an unfinished run in it is resumed")] = "",
    device: Device = "auto",
    seed: Annotated[int, Field("random seed")] = 0,
) -> Learnt:
    """Train a captioner from scratch on captioned clips, with CRESCENDO alignment and demix supervision.

    The captioned clips may come from the job build, from S2Cap's table with sound of your own, or from any csv.
    """
    clips = read_manifest(manifest, audio)
    tests = read_manifest(held_out) if held_out is not None else clips[len(clips) - len(clips) // 10 :]
    if held_out is None:
        clips = clips[: len(clips) - len(clips) // 10]
    if demix and any(clip.vocals_path is None for clip in clips):
        say("Not all clips have a vocals_path: trained without demix supervision.")
    captioner = SingingStyleCaptioner(
        config=SIZES[size],
        crescendo=crescendo,
        demix=demix,
        attributes=attributes,
        steps=steps,
        batch=batch,
        learning_rate=learning_rate,
        device=device,
        random_state=seed,
    )
    folder = Path(keep).expanduser() if keep else None
    trained = captioner.train(clips, tests, folder, evaluate_every)
    scores = trained.history[-1] if trained.history else {}
    made = {
        "clips": len(clips),
        "held_out": len(tests),
        "seed": seed,
        "scores": scores,
        "seconds": round(trained.seconds),
    }
    return {"weights": captioner.checkpoint(made), "report": report.run(trained.history)}


def _table(described: list[Described]) -> Table:
    if not described:
        raise InputError("there is nothing to describe", "no clip", "Pass a longer song.")
    rows = []
    for clip in described:
        row = {"begin_s": round(clip.stretch.begin, 2), "end_s": round(clip.stretch.end, 2), "caption": clip.text}
        for name in LEXICON:
            row[name] = clip.attributes.get(name)
            row[f"{name}_confidence"] = None if name not in clip.scores else round(clip.scores[name], 3)
        sung = bool(clip.attributes)
        row |= {"f0_hz": round(clip.f0, 1) if sung else None, "voice_db": round(clip.volume_db, 1) if sung else None}
        row |= {"bpm": None if clip.bpm is None else round(clip.bpm, 1), "voice": round(clip.voice, 3)}
        rows.append(row)
    return Table(polars.DataFrame(rows, infer_schema_length=None))


JOBS = (caption, build, train)
