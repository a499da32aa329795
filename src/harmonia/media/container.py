"""Sound and pictures out of mp4, matroska (webm), avi and aac files, and into mp4, through PyAV.

The demuxer is chosen by us, from the content: left to itself it would also believe play lists, which name other files
and addresses to open.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from harmonia.core.errors import HarmoniaError, InputError, require
from harmonia.media.files import MIB, content, too_large, unreadable

DEMUXERS = {"mp4": "mov", "matroska": "matroska", "avi": "avi", "aac": "aac"}
FRAME_PIXEL_LIMIT = 64_000_000

_CODEC_PADDING = 4096

_CONVERT = "Convert it first, for example: ffmpeg -i {name} -c:v libx264 -c:a aac new.mp4"


@dataclass(frozen=True)
class Streams:
    """What a container says about itself.

    Attributes:
        fps: Pictures a second, on average.
        count: Pictures; an estimate where the container does not say.
        height: Of a picture in pixels, upright.
        width: Of a picture in pixels, upright.
        sound: Whether there is a sound track.
    """

    fps: float
    count: int
    height: int
    width: int
    sound: bool


def streams(path: Path) -> Streams:
    """What a container says about itself, checked by decoding the first picture.

    Raises:
        InputError: damaged, without pictures, or with enormous ones.
    """
    with _opened(path, "video") as container:
        stream = _only(container.streams.video, "video", path)
        if stream.width * stream.height > FRAME_PIXEL_LIMIT:
            raise too_large("video", path, f"pictures of {stream.width} x {stream.height}", FRAME_PIXEL_LIMIT * 3)
        first = next(iter(_upright(frame) for frame in container.decode(stream)), None)
        if first is None:
            raise InputError("the video holds no pictures", path.name, "Pass a video that plays.")
        fps = float(stream.average_rate or stream.guessed_rate or 25)
        seconds = float(stream.duration * stream.time_base) if stream.duration else (container.duration or 0) / 1e6
        count = stream.frames or round(seconds * fps)
        height, width, _ = first.shape
        return Streams(fps, max(1, count), height, width, bool(container.streams.audio))


def frames(path: Path, start: float = 0.0) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """Pictures in order, from the one at `start` seconds, decoded one at a time.

    Raises:
        InputError: damaged where it is read.
    """
    with _opened(path, "video") as container:
        stream = _only(container.streams.video, "video", path)
        stream.thread_type = "AUTO"
        first = stream.start_time or 0
        half_frame = 0.5 / float(stream.average_rate or 25)
        if start > 0:
            container.seek(first + int(start / stream.time_base), stream=stream)
        for frame in container.decode(stream):
            if frame.pts is None or float((frame.pts - first) * stream.time_base) > start - half_frame:
                yield _upright(frame)


def decode_audio(path: Path, limit: int, track: int = 0) -> tuple[Float32[np.ndarray, "channels time"], int, float]:
    """All samples of a sound track, the first unless told, their rate, and the seconds that the file promises.

    Raises:
        InputError: damaged, without sound, or more than `limit` bytes of samples.
    """
    av = require("av", extra="video")
    blocks: list[np.ndarray] = []
    size = 0
    with _opened(path, "audio") as container:
        stream = _only(container.streams.audio[track:], "audio", path)
        rate = stream.rate
        promised_s = float(stream.duration * stream.time_base) if stream.duration else 0.0
        if promised_s * rate * stream.channels * 4 > limit:
            raise too_large("audio", path, f"{promised_s / 3600:.0f} hours", limit)
        planar = av.AudioResampler(format="fltp", layout=stream.layout, rate=rate)
        for decoded in container.decode(stream):
            for frame in planar.resample(decoded):
                blocks.append(frame.to_ndarray())
                size += blocks[-1].nbytes
                if size > limit:
                    raise too_large("audio", path, f"more than {limit / MIB:.0f} MiB of samples", limit)
        blocks += [frame.to_ndarray() for frame in planar.resample(None)]
        if not blocks:
            raise InputError("the audio file holds no sound", f"0 samples in {path.name}", "Pass a file that plays.")
        samples = np.concatenate(blocks, axis=1)
        padding = samples.shape[1] - round(promised_s * rate)
        if 0 < padding <= _CODEC_PADDING:
            samples = samples[:, :-padding]
        return samples, rate, promised_s


def encode(
    path: Path,
    pictures: Iterable[UInt8[np.ndarray, "height width 3"]],
    fps: float,
    sound: tuple[Float32[np.ndarray, "channels time"], int] | None,
) -> None:
    """Write H.264 pictures and AAC sound to an mp4 file. Sides of odd length lose their last row or column."""
    av = require("av", extra="video")
    with av.open(str(path), "w", format="mp4") as container:
        rate = Fraction(fps).limit_denominator(1001)
        video = container.add_stream("libx264", rate=rate, options={"crf": "18", "preset": "medium"})
        layout = "mono" if sound and len(sound[0]) == 1 else "stereo"
        audio = container.add_stream("aac", rate=sound[1], layout=layout) if sound else None
        for index, picture in enumerate(pictures):
            even = picture[: picture.shape[0] // 2 * 2, : picture.shape[1] // 2 * 2]
            if index == 0:
                video.height, video.width, video.pix_fmt = *even.shape[:2], "yuv420p"
            container.mux(video.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")))
        container.mux(video.encode(None))
        if sound and audio:
            samples, hertz = sound
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = hertz, 0, Fraction(1, hertz)
            container.mux(audio.encode(frame))
            container.mux(audio.encode(None))


@contextmanager
def _opened(path: Path, kind: str) -> Iterator[Any]:
    av = require("av", extra="video")
    form = content(path)
    if form not in DEMUXERS:
        mend = f"Pass mp4, webm, matroska or avi{', or a sound file' if kind == 'audio' else ''}."
        raise InputError(f"the file is no known {kind}", f"{form} data in {path.name}", mend)
    try:
        with av.open(str(path.resolve()), format=DEMUXERS[form], options={"protocol_whitelist": "file"}) as container:
            yield container
    except HarmoniaError:
        raise
    except Exception as error:  # PyAV raises OSError, ValueError, EOFError and more; all of it is about this file
        raise unreadable(kind, path, error, _CONVERT.format(name=path.name)) from None


def _only(found: Any, kind: str, path: Path) -> Any:
    if not found:
        raise InputError(f"the file holds no {kind}", path.name, f"Pass a file with a {kind} track.")
    return found[0]


def _upright(frame: Any) -> UInt8[np.ndarray, "height width 3"]:
    """A decoded picture as red, green and blue, turned as its camera noted."""
    return np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90)))
