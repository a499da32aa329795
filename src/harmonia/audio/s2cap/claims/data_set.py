"""The data-set builder on clips whose truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import polars

from harmonia.audio.s2cap.attributes import LEXICON
from harmonia.audio.s2cap.builder import StyleDatasetBuilder, faults
from harmonia.audio.s2cap.claims.clips import RENDERED, TESTS, rendered
from harmonia.core.claim import Measured, claim
from harmonia.media import Audio


@claim(
    "The builder finds the singer's gender",
    place="data-set pipeline; the separated voice is given",
    unit="accuracy",
    better="higher",
    tier="full",
    gate=0.95,
)
def builder_gender(seed: int) -> Measured | None:
    """Fails with the embedded attribute models (0.81 of 79 clips): they heard eleven voices, which are too few."""
    return _agreement(("gender",))


@claim(
    "The builder's pitch, volume and tempo classes agree with the truth",
    place="Algorithm 1",
    unit="accuracy of the worst of the three",
    better="higher",
    tier="full",
    gate=0.9,
)
def builder_levels(seed: int) -> Measured | None:
    """Fails by the pitch (0.67 of 79 clips; volume 0.96, tempo 0.91): levels are quantiles of each gender, so a wrong
    gender makes a wrong level, and the classes of a small set are no exact thirds. With the true gender it is 0.85, and
    0.92 with the levels of the reference."""
    return _agreement(("pitch", "volume", "tempo"))


@claim(
    "Every caption the builder writes is one sentence that states the mandatory attributes and names no artist",
    place="instruction of the caption prompt",
    unit="share at fault",
    better="zero",
    tier="full",
    tolerance=0.0,
)
def builder_captions(seed: int) -> Measured | None:
    frame = built()
    if frame is None:
        return None
    rows = list(frame.iter_rows(named=True))
    wrong = sum(bool(faults(row["caption"], {name: row[name] for name in LEXICON})) for row in rows)
    return Measured(wrong / len(rows), note=f"{len(rows)} clips")


@cache
def built(count: int = TESTS) -> polars.DataFrame | None:
    """The builder's data set from rendered clips, beside their truth (columns that begin with ``true_``).

    Separation is given, so that the builder is measured; the embedded separator was made for stereo at 44.1 kHz.
    """
    clips = rendered("test", count)
    if clips is None:
        return None
    folder = clips[0].path.parent
    songs = folder / "songs"
    songs.mkdir(exist_ok=True)
    for clip in clips:
        link = songs / clip.path.name
        if not link.exists():
            link.symlink_to(clip.path)
    vocals = {Audio.read(clip.path).samples.tobytes(): clip.vocals_path for clip in clips}

    def separate(mixture: Audio) -> Audio:
        return Audio.read(vocals[mixture.samples.tobytes()] or "")

    frame = StyleDatasetBuilder(separator=separate, shortest=3.0).build(songs, folder / "built")
    truth = polars.DataFrame(
        [{"song": clip.path.name, **{f"true_{k}": v for k, v in clip.attributes.items()}} for clip in clips]
    )
    return frame.join(truth, on="song")


def _agreement(names: Sequence[str]) -> Measured | None:
    frame = built()
    if frame is None:
        return None
    shares = {name: float((frame[name] == frame[f"true_{name}"]).mean()) for name in names}  # type: ignore[arg-type]
    told = ", ".join(f"{name} {share:.3f}" for name, share in shares.items())
    return Measured(min(shares.values()), note=f"{told}; {len(frame)} clips with their voices given; {RENDERED}")
