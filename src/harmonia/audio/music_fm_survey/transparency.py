"""Transparency cards of models: what is stated, and what was checked against files.

Fields that nobody filled in say "unknown", never a guess. Findings are computed: licences that do not go together,
training pieces in the test set, outputs that repeat the training set, weights that are not those of the card.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from harmonia.audio.music_fm_survey.fingerprint import shared_sounds
from harmonia.audio.music_fm_survey.licences import combine, conflicts, terms
from harmonia.audio.music_fm_survey.memorisation import coverage_entropy, memorised
from harmonia.audio.music_fm_survey.overlap import Melody, shared_melodies
from harmonia.core.errors import InputError
from harmonia.core.media import whole_file
from harmonia.media import Audio
from harmonia.parts.probing import Gain, bootstrap_interval

UNKNOWN = "unknown"
REPEATED_P = 0.05


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A part of a card; unknown fields are refused."""


class Source(_Record, frozen=True):
    """A source of training data."""

    name: str
    licence: str = UNKNOWN
    hours: float | None = None
    consent: str = UNKNOWN
    genres: list[str] = []
    languages: list[str] = []
    years: str = UNKNOWN


class Training(_Record, frozen=True):
    """What the training took."""

    hardware: str = UNKNOWN
    hours: float | None = None
    watts: float | None = None

    @property
    def kilowatt_hours(self) -> float | None:
        """Energy, hours times watts, where both are stated."""
        return None if self.hours is None or self.watts is None else self.hours * self.watts / 1000


class File(_Record, frozen=True):
    """A file and its checksum."""

    name: str
    sha256: str


class Finding(_Record, frozen=True):
    """Something a check found: of which kind, what, and in which parts."""

    check: Literal["licence", "overlap", "memorisation", "files", "fields", "subgroups"]
    what: str
    parts: list[str] = []


class TransparencyCard(_Record, frozen=True):
    """What a model is, is for, and was made of; with checks that read files instead of taking words for it.

    Attributes:
        name: Of the model.
        version: Of the model.
        intended_use: What for.
        commercial: Whether commercial use is intended.
        licence: Of the weights.
        code_licence: Of the code.
        sources: Training data.
        training: Hardware, hours, power.
        evaluation: Names and values of measurements.
        failures: Known failures.
        files: Weights, configuration and manifests with their checksums: the provenance chain.

    Example:
        >>> card = TransparencyCard(name="Hum", sources=[Source(name="songs", licence="CC-BY-NC-4.0")], commercial=True)
        >>> [finding.what for finding in card.check() if finding.check == "licence"]
        ['not for commercial use', 'licence unknown']
        >>> "unknown" in card.to_markdown()
        True
    """

    name: str
    version: str = UNKNOWN
    intended_use: str = UNKNOWN
    commercial: bool = False
    licence: str = UNKNOWN
    code_licence: str = UNKNOWN
    sources: list[Source] = []
    training: Training = Training()
    evaluation: dict[str, float] = {}
    failures: list[str] = []
    files: list[File] = []

    @classmethod
    def read(cls, path: str | Path) -> TransparencyCard:
        """Read a card written as JSON or TOML.

        Raises:
            InputError: missing, damaged, or with a field that is unknown or of the wrong type; it is named.
        """
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8")
            content = tomllib.loads(text) if path.suffix.lower() == ".toml" else json.loads(text)
            return msgspec.convert(content, cls)
        except (OSError, UnicodeDecodeError, ValueError) as error:
            raise InputError(f"the card {path.name} cannot be read", error, "Write it as JSON or TOML.") from None

    @classmethod
    def from_folder(cls, folder: str | Path) -> TransparencyCard:
        """The card of a folder: its ``card.json`` or ``card.toml`` if it has one, with the checksums of its files.

        Raises:
            InputError: no such folder, or an empty one.
        """
        folder = Path(folder)
        files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
        written = [path for path in files if path.name in ("card.json", "card.toml")]
        made = [path for path in files if path not in written and path.name != "CARD.md"]
        if not made:
            raise InputError("the folder holds no model", folder, "Pass a folder with weights.")
        stated = cls.read(written[0]) if written else cls(name=folder.resolve().name)
        chain = stated.files or [File(name=str(p.relative_to(folder)), sha256=sha256_of(p)) for p in made]
        return msgspec.structs.replace(stated, files=chain)

    def for_commerce(self) -> TransparencyCard:
        """The card as if commercial use were intended."""
        return msgspec.structs.replace(self, commercial=True)

    def verify(self, folder: str | Path) -> list[Finding]:
        """Files of the card that are missing in a folder, or are other files than when the card was written."""
        found = []
        for file in self.files:
            path = Path(folder) / file.name
            if not path.is_file():
                found.append(Finding(check="files", what="missing", parts=[file.name]))
            elif sha256_of(path) != file.sha256:
                found.append(Finding(check="files", what="not the file of the card", parts=[file.name]))
        return found

    @property
    def chain(self) -> str:
        """One checksum over all files in order: changes when any of them does."""
        digest = hashlib.sha256()
        for file in sorted(self.files, key=lambda each: each.name):
            digest.update(f"{file.name}\0{file.sha256}\n".encode())
        return digest.hexdigest() if self.files else UNKNOWN

    def check(
        self,
        training: Mapping[str, Melody] | Mapping[str, Audio] | None = None,
        test: Mapping[str, Melody] | Mapping[str, Audio] | None = None,
        outputs: Mapping[str, Melody] | Mapping[str, Audio] | None = None,
    ) -> list[Finding]:
        """Everything that can be found out: licences, unknown fields, overlap, memorisation.

        Arguments:
            training: What the model was trained on, by name: melodies, or sounds.
            test: What it is tested on.
            outputs: What it generated. Melodies are judged beside the test pieces that are not in the training set.

        Raises:
            InputError: outputs without training pieces.
        """
        found = [*self._licences(), *self._fields()]
        overlapping: set[str] = set()
        if training and test:
            matches = _matches(training, test)
            overlapping = {match.second for match in matches}
            found += [
                Finding(
                    check="overlap", what=f"{m.share:.0%} of a test piece is in training", parts=[m.first, m.second]
                )
                for m in matches
            ]
        if outputs:
            if not training:
                raise InputError("outputs are compared with training pieces", "none", "Pass training as well.")
            found += _repeated(outputs, training, {k: v for k, v in (test or {}).items() if k not in overlapping})
        return found

    def to_markdown(self, findings: Sequence[Finding] | None = None) -> str:
        """The card as Markdown, with what the checks found."""
        energy = self.training.kilowatt_hours
        licences = [source.licence for source in self.sources]
        unclear = not licences or UNKNOWN in licences
        genres = [genre for source in self.sources for genre in source.genres]
        lines = [
            f"# {self.name}",
            "",
            f"- Version: {self.version}",
            f"- Intended use: {self.intended_use}; commercial: {'yes' if self.commercial else 'no'}",
            f"- Licence of the weights: {self.licence}; of the code: {self.code_licence}",
            f"- Terms that follow from the data: {UNKNOWN if unclear else combine(licences).name}",
            f"- Training: {self.training.hardware}; {_number(self.training.hours, 'h')}; {_number(energy, 'kWh')}",
            f"- Known failures: {'; '.join(self.failures) or UNKNOWN}",
            f"- Evenness of genres: {f'{coverage_entropy(genres):.2f}' if genres else UNKNOWN} (1: all alike often)",
            f"- Provenance chain (sha256): {self.chain}",
            "",
            "## Data",
            "",
            "| Source | Hours | Licence | Consent | Genres | Languages | Years |",
            "|---|---|---|---|---|---|---|",
        ]
        for each in self.sources:
            words = [", ".join(values) or UNKNOWN for values in (each.genres, each.languages)]
            cells = [each.name, _number(each.hours, ""), each.licence, each.consent, *words, each.years]
            lines.append("| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |")
        lines += [] if self.sources else [f"| {UNKNOWN} |" + " |" * 6]
        lines += ["", "## Measured", ""]
        lines += [f"- {name}: {value:g}" for name, value in self.evaluation.items()] or [f"- {UNKNOWN}"]
        lines += ["", "## Files", ""]
        lines += [f"- `{file.name}` {file.sha256}" for file in self.files] or [f"- {UNKNOWN}"]
        lines += ["", "## Findings", ""]
        found = self.check() if findings is None else findings
        lines += [f"- **{f.check}**: {f.what}: {', '.join(f.parts)}" for f in found] or ["- none"]
        return "\n".join([*lines, "", "Reading licences is not legal advice.", ""])

    def write(self, path: str | Path) -> Path:
        """Write the card as JSON."""
        with whole_file(Path(path)) as temporary:
            temporary.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=2))
        return Path(path)

    def _licences(self) -> list[Finding]:
        parts = {source.name: source.licence for source in self.sources}
        found = [
            Finding(check="licence", what=each.what, parts=list(each.parts))
            for each in sorted(conflicts(parts, commercial=self.commercial), key=lambda c: c.what == "licence unknown")
        ]
        if self.licence == UNKNOWN:
            return [*found, Finding(check="licence", what="licence unknown", parts=["weights"])]
        known = [licence for licence in parts.values() if licence != UNKNOWN]
        if known and not terms(self.licence) <= combine(known):
            what = f"the weights' licence {self.licence} grants what the data ask for ({combine(known).name})"
            found.append(Finding(check="licence", what=what, parts=["weights"]))
        return found

    def _fields(self) -> list[Finding]:
        stated: dict[str, Any] = {
            "version": self.version,
            "intended use": self.intended_use,
            "hardware": self.training.hardware,
            "code licence": self.code_licence,
        }
        missing = [name for name, value in stated.items() if value == UNKNOWN]
        missing += [f"consent of {source.name}" for source in self.sources if source.consent == UNKNOWN]
        missing += [] if self.sources else ["data"]
        missing += [] if self.evaluation else ["evaluation"]
        return [Finding(check="fields", what="unknown", parts=missing)] if missing else []


def subgroup_gap(
    hits: Sequence[bool], groups: Sequence[str], *, seed: int = 0
) -> tuple[Finding | None, dict[str, Any]]:
    """Accuracy of each subgroup with its interval; a finding where the intervals of two do not meet.

    Example:
        >>> finding, scores = subgroup_gap([True] * 50 + [False] * 40 + [True] * 10, ["a"] * 50 + ["b"] * 50)
        >>> finding.parts, round(scores["b"].score, 2)
        (['a', 'b'], 0.2)
    """
    right, names = np.asarray(hits, dtype=bool), np.asarray(groups)
    if len(right) != len(names) or not len(right):
        raise InputError("each item has a subgroup", f"{len(right)} and {len(names)}", "Align them.")
    scores = {}
    for name in np.unique(names):
        inside = right[names == name]
        guesses = np.eye(2)[1 - inside.astype(int)]
        scores[str(name)] = bootstrap_interval(Gain(), np.zeros(len(inside), dtype=np.int64), guesses, seed=seed)
    best, worst = (pick(scores, key=lambda name: scores[name].score) for pick in (max, min))
    if scores[worst].high >= scores[best].low:
        return None, scores
    what = f"{scores[best].score:.0%} right in one subgroup, {scores[worst].score:.0%} in another"
    return Finding(check="subgroups", what=what, parts=[best, worst]), scores


def sha256_of(path: Path) -> str:
    """Checksum of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _matches(first: Any, second: Any) -> list[Any]:
    sounds = [isinstance(each, Audio) for each in (*first.values(), *second.values())]
    if any(sounds) != all(sounds):
        raise InputError("sounds are compared with sounds", "sounds and melodies", "Pass one kind.")
    return shared_sounds(first, second) if all(sounds) else shared_melodies(first, second)


def _repeated(outputs: Any, training: Any, unseen: Any) -> list[Finding]:
    if any(isinstance(each, Audio) for each in outputs.values()):
        return [
            Finding(
                check="memorisation", what=f"{m.share:.0%} of an output is a training sound", parts=[m.second, m.first]
            )
            for m in _matches(training, outputs)
        ]
    return [
        Finding(
            check="memorisation",
            what=f"{each.notes} notes in a row are in training (p = {each.p_value:.3f})",
            parts=[each.name, each.source],
        )
        for each in memorised(outputs, training, unseen)
        if each.p_value <= REPEATED_P
    ]


def _number(value: float | None, unit: str) -> str:
    return UNKNOWN if value is None else f"{value:g} {unit}".strip()
