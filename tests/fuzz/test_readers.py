"""Damaged files of every kind give an error of ours or a usable medium: no traceback, crash, hang or memory blow-up.

A few hundred files run with the tests. More: ``FUZZ_FILES=10000 pytest tests/fuzz`` or, with a table of outcomes,
``python tests/fuzz/test_readers.py 10000``. File number n of a seed is always the same.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import select
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

QUICK_FILES = 300
TIMEOUT_S = 20.0
GROWTH_LIMIT_MIB = 1200
SHOWN_EVERY = 8


@dataclass(frozen=True)
class Sample:
    """A good file: the medium that reads it, its suffix and its bytes."""

    kind: str
    suffix: str
    data: bytes


def samples() -> list[Sample]:
    """A small good file of every kind and format that is read."""
    made = [*_sounds(), *_scores(), *_pictures(), *_tables()]
    made += [
        Sample("Text", ".txt", "Süßer Klang\nrow row row\n".encode(code)) for code in ("utf-8", "utf-16", "latin-1")
    ]
    triples = "".join(f"e{i % 7}\tr{i % 3}\te{i % 5}\n" for i in range(40))
    made += [Sample("Graph", ".tsv", triples.encode()), Sample("Graph", ".csv", triples.replace("\t", ",").encode())]
    return made


def _sounds() -> list[Sample]:
    import soundfile

    from harmonia.media import Audio, Video

    sound = 0.2 * np.sin(np.arange(8000)[:, None] * np.array([0.11, 0.17]))
    found = []
    for form, subtype in (
        ("WAV", "PCM_16"), ("WAV", "FLOAT"), ("WAV", "PCM_U8"), ("WAV", "IMA_ADPCM"), ("W64", "PCM_24"),
        ("AIFF", "PCM_16"), ("AU", "PCM_16"), ("CAF", "ALAC_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"),
        ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"),
    ):  # fmt: skip
        buffer = io.BytesIO()
        soundfile.write(buffer, sound, 16_000 if form != "W64" else 44_100, format=form, subtype=subtype)
        found.append(Sample("Audio", f".{form.lower()}", buffer.getvalue()))
    pictures = np.random.default_rng(0).integers(0, 255, (12, 48, 64, 3), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        film = Video(pictures, 12, Audio(sound.T, 16_000)).write(Path(folder) / "film.mp4").read_bytes()
        found += [Sample("Video", ".mp4", film), Sample("Audio", ".mp4", film)]
        for suffix, codec in ((".mkv", "libx264"), (".avi", "mpeg4")):
            found.append(Sample("Video", suffix, _film(Path(folder) / f"film{suffix}", codec, pictures)))
    return found


def _film(path: Path, codec: str, pictures: np.ndarray) -> bytes:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=12)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path.read_bytes()


def _scores() -> list[Sample]:
    import symusic

    from harmonia.media import Score

    notes = [(i * 0.25, i * 0.25 + 0.2, 50 + i % 20, 80, i % 3) for i in range(40)]
    score = Score.from_notes(notes)
    score.score.time_signatures.append(symusic.TimeSignature(0, 3, 4))
    score.score.key_signatures.append(symusic.KeySignature(0, 2, 0))
    score.score.tracks[0].controls.append(symusic.ControlChange(10, 64, 100))
    score.score.tracks[1].pitch_bends.append(symusic.PitchBend(10, 100))
    score.score.tracks[1].lyrics.append(symusic.TextMeta(10, "la"))
    abc = 'X:1\nT:Reel\nM:4/4\nL:1/8\nQ:1/4=100\nK:G\n|:"G"GABc dedB|"C"c2ec (3Bcd AB|1 c4 z4:|2 [CEG]4 c/d/e f2|\n'
    with tempfile.TemporaryDirectory() as folder:
        xml = score.write(Path(folder) / "score.musicxml").read_bytes()
    archive = io.BytesIO()
    import zipfile

    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("META-INF/container.xml", "<container/>")
        file.writestr("score.xml", xml)
    return [
        Sample("Score", ".mid", score.score.dumps_midi()),
        Sample("Score", ".musicxml", xml),
        Sample("Score", ".mxl", archive.getvalue()),
        Sample("Score", ".abc", abc.encode()),
    ]


def _pictures() -> list[Sample]:
    import PIL.Image

    rng = np.random.default_rng(1)
    colour = PIL.Image.fromarray(rng.integers(0, 255, (24, 32, 3), dtype=np.uint8))
    made = [(colour, form, {}) for form in ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "AVIF")]
    made += [
        (colour.convert("RGBA"), "PNG", {}),
        (colour.convert("P"), "GIF", {"save_all": True, "append_images": [colour.convert("P")]}),
        (PIL.Image.fromarray(rng.integers(0, 65535, (24, 32), dtype=np.uint16)), "PNG", {}),
        (colour.convert("CMYK"), "TIFF", {"compression": "tiff_lzw"}),
        (colour.convert("CMYK"), "JPEG", {}),
    ]
    found = []
    for picture, form, options in made:
        buffer = io.BytesIO()
        picture.save(buffer, format=form, **options)
        found.append(Sample("Image", f".{form.lower()}", buffer.getvalue()))
    return found


def _tables() -> list[Sample]:
    import polars

    rows = [f"2020-01-{1 + i % 28:02d},{i * 0.5},{i},w{i % 4},{'true' if i % 2 else 'false'}" for i in range(40)]
    text = "date,x,n,word,flag\n" + "\n".join(rows) + "\n"
    series = "date,y,z\n" + "".join(f"2020-{1 + i:02d}-01,{i**0.5:.3f},{i}\n" for i in range(12))
    parquet = {}
    for compression in ("zstd", "snappy", "uncompressed"):
        buffer = io.BytesIO()
        polars.read_csv(io.StringIO(text), try_parse_dates=True).write_parquet(buffer, compression=compression)
        parquet[compression] = buffer.getvalue()
    buffer = io.BytesIO()
    polars.read_csv(io.StringIO(series), try_parse_dates=True).write_parquet(buffer)
    return [
        Sample("Table", ".csv", text.encode()),
        Sample("Table", ".tsv", text.replace(",", "\t").encode("utf-16")),
        Sample("Table", ".csv", text.replace(",", ";").replace(".", ",").encode()),
        Sample("Table", ".csv.gz", gzip.compress(text.encode(), mtime=0)),
        *(Sample("Table", ".parquet", data) for data in parquet.values()),
        Sample("Series", ".csv", series.encode()),
        Sample("Series", ".parquet", buffer.getvalue()),
    ]


EXTREMES = (
    b"\xff\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\x7f\xff\xff\xff",
    b"\x80\0\0\0",
    b"\0\0\0\0",
    b"\0\0\0\x80",
    b"\1\0\0\0",
)


def damaged(rng: random.Random, sample: Sample, others: list[Sample]) -> tuple[str, str, bytes]:
    """Name of the damage, suffix and bytes of a damaged copy of `sample`."""
    data, suffix = bytearray(sample.data), sample.suffix
    damage = rng.choice(
        ("flip", "flip", "flip", "header", "header", "extreme", "extreme", "truncate", "truncate", "cut out", "insert",
         "blank", "join", "repeat", "suffix", "impostor", "noise", "empty")
    )  # fmt: skip
    at = rng.randrange(len(data))
    span = rng.randint(1, max(1, len(data) // 4))
    match damage:
        case "flip":
            for _ in range(rng.choice((1, 2, 5, 20))):
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        case "header":
            for _ in range(rng.randint(1, 4)):
                data[rng.randrange(min(96, len(data)))] = rng.randrange(256)
        case "extreme":
            for _ in range(rng.randint(1, 3)):
                where = rng.randrange(min(rng.choice((64, 512, 1 << 20)), len(data)))
                data[where : where + 4] = rng.choice(EXTREMES)
        case "truncate":
            del data[at:]
        case "cut out":
            del data[at : at + span]
        case "insert":
            data[at:at] = rng.randbytes(rng.choice((1, 3, 100, 5000)))
        case "blank":
            data[at : at + span] = bytes(len(data[at : at + span]))
        case "join":
            data += rng.choice(others).data
        case "repeat":
            data[at:at] = data[at : at + span] * rng.randint(2, 20)
        case "suffix":
            suffix = rng.choice(others).suffix
        case "impostor":
            data = bytearray(rng.choice(others).data)
        case "noise":
            data[min(len(data), rng.choice((4, 16, 64))) :] = rng.randbytes(rng.choice((10, 1000, 20_000)))
        case "empty":
            data = bytearray(rng.choice((b"", b"\0", b"\n", b" \n\n", b"\xff\xfe")))
    return damage, suffix, bytes(data)


@dataclass
class Tally:
    """Outcomes by medium, and what should not have happened."""

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    slowest_s: float = 0.0


class Child:
    """A reading process that is started again when it dies."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[str] | None = None

    def ask(self, task: dict[str, object]) -> dict[str, object]:
        if self.process is None:
            command = [sys.executable, str(Path(__file__).with_name("reader.py"))]
            environment = {**os.environ, "OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "2"}
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env=environment,
            )
        assert self.process.stdin
        assert self.process.stdout
        print(json.dumps(task), file=self.process.stdin, flush=True)
        if not select.select([self.process.stdout], [], [], TIMEOUT_S)[0]:
            self.close()
            return {"outcome": f"no answer within {TIMEOUT_S:.0f} s", "grown_mib": 0}
        reply = self.process.stdout.readline()
        if not reply:
            code = self.process.wait()
            self.process = None
            return {"outcome": f"the process died with {code}", "grown_mib": 0}
        return json.loads(reply)

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


def fuzz(files: int, seed: int, folder: Path, keep: Path | None = None) -> Tally:
    """Read `files` damaged files, evenly over all samples."""
    goods = samples()
    tally = Tally()
    child = Child()
    try:
        for kind in sorted({good.kind for good in goods}):  # imports, which are neither slow nor large reads
            first = next(good for good in goods if good.kind == kind)
            warm = folder / f"warm{first.suffix}"
            warm.write_bytes(first.data)
            reply = child.ask({"kind": kind, "path": str(warm), "show": True})
            assert reply["outcome"] == "read", reply["outcome"]
        for number in range(files):
            rng = random.Random(f"{seed}-{number}")
            sample = goods[number % len(goods)]
            damage, suffix, data = damaged(rng, sample, goods)
            path = folder / f"{number}{suffix}"
            path.write_bytes(data)
            start = time.perf_counter()
            reply = child.ask({"kind": sample.kind, "path": str(path), "show": number % SHOWN_EVERY == 0})
            tally.slowest_s = max(tally.slowest_s, time.perf_counter() - start)
            outcome = str(reply["outcome"])
            if float(str(reply["grown_mib"])) > GROWTH_LIMIT_MIB:
                outcome = f"memory grew by {reply['grown_mib']} MiB"
            fine = outcome in ("read", "refused")
            tally.outcomes[sample.kind, outcome if fine else "FAILED"] += 1
            if not fine:
                tally.failures.append(f"{sample.kind} {damage} {path.name} (seed {seed}):\n{outcome}")
                if keep is not None:
                    keep.mkdir(parents=True, exist_ok=True)
                    (keep / f"{sample.kind}-{path.name}").write_bytes(data)
            path.unlink()
    finally:
        child.close()
    return tally


def test_damaged_files_of_every_kind_are_read_or_refused(tmp_path: Path) -> None:
    for module in ("soundfile", "symusic", "music21", "av"):
        pytest.importorskip(module)
    files = int(os.environ.get("FUZZ_FILES", QUICK_FILES))
    tally = fuzz(files, seed=0, folder=tmp_path)
    assert sum(tally.outcomes.values()) == files
    assert not tally.failures, "\n\n".join(tally.failures[:5])


def test_good_files_of_every_kind_are_read(tmp_path: Path) -> None:
    for module in ("soundfile", "symusic", "music21", "av"):
        pytest.importorskip(module)
    from harmonia import media

    for index, good in enumerate(samples()):
        path = tmp_path / f"{index}{good.suffix}"
        path.write_bytes(good.data)
        assert getattr(media, good.kind).read(path).kind == good.kind.lower()
        misnamed = path.rename(tmp_path / f"{index}.bin")
        assert getattr(media, good.kind).read(misnamed).kind == good.kind.lower()


def main() -> None:
    files, seed = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    keep = Path(sys.argv[3]) if len(sys.argv) > 3 else None
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        tally = fuzz(files, seed, Path(folder), keep)
    kinds = sorted({kind for kind, _ in tally.outcomes})
    print(f"{'':10}{'read':>8}{'refused':>10}{'FAILED':>8}")
    for kind in kinds:
        print(
            f"{kind:10}"
            + "".join(f"{tally.outcomes[kind, o]:>{w}}" for o, w in (("read", 8), ("refused", 10), ("FAILED", 8)))
        )
    took = time.perf_counter() - start
    print(f"{files} files, seed {seed}, {took:.0f} s, slowest file {tally.slowest_s:.1f} s")
    for failure in tally.failures:
        print("\n" + failure)
    sys.exit(bool(tally.failures))


if __name__ == "__main__":
    main()
