"""Find, check and load weights: embedded ones, a local file, or a file of the hub.

Nothing here executes what a stranger wrote: safetensors are data, and other files go through
``torch.load(weights_only=True)``. What that refuses is read only after an explicit ``trust_pickle=True``.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from harmonia.core.card import ReleasedWeights
from harmonia.core.errors import WeightsError
from harmonia.core.media import Media, whole_file
from harmonia.core.progress import say

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WRAPPERS = ("state_dict", "model_state_dict", "model_dict", "state", "model", "module")
_PREFIXES = ("module.", "model.", "_orig_mod.")
_announced: set[str] = set()


def locate(
    source: str | Path,
    *,
    embedded: Path | None = None,
    sha256: str | None = None,
    released: Iterable[ReleasedWeights] = (),
) -> Path:
    """The local file behind ``embedded``, a path, or ``hub:<owner>/<name>[/<file>]``.

    Arguments:
        source: Where the weights are.
        embedded: The file that ``embedded`` stands for, when the method ships one.
        sha256: Expected checksum; overrides the one on the card.
        released: The card's released weights: give the file name, checksum and licence of a hub repository.

    Raises:
        WeightsError: no such file, a checksum that differs, or offline with nothing cached.
    """
    source = str(source)
    if source == "embedded":
        if embedded is None or not embedded.is_file():
            raise WeightsError(
                "this method ships no embedded weights", "'embedded'", "Give a local file or hub:<repo>/<file>."
            )
        return embedded
    if source.startswith("hub:"):
        path, sha256 = _from_hub(source.removeprefix("hub:"), sha256, released)
    else:
        path = Path(source).expanduser()
        if not path.is_file():
            raise WeightsError("there is no such file of weights", path, "Check the path, or use hub:<repo>/<file>.")
        _announce_license(path.name, [entry for entry in released if entry.file and Path(entry.file).name == path.name])
    if sha256 is not None:
        _verify(path, sha256)
    return path


def _from_hub(name: str, sha256: str | None, released: Iterable[ReleasedWeights]) -> tuple[Path, str | None]:
    owner, _, rest = name.partition("/")
    repo_name, _, file = rest.partition("/")
    repo = f"{owner}/{repo_name}"
    known = [entry for entry in released if entry.repo == repo and (not file or entry.file == file)]
    if not file:
        if len(known) != 1:
            files = ", ".join(entry.file for entry in known) or "none known"
            raise WeightsError(
                "the hub repository needs a file name",
                f"'hub:{name}'",
                f"Write hub:{repo}/<file>; known files: {files}.",
            )
        file = known[0].file
    _announce_license(f"{repo}/{file}", known)
    sha256 = sha256 or next((entry.sha256 for entry in known if entry.sha256), None)

    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        return Path(hf_hub_download(repo, file)), sha256
    except LocalEntryNotFoundError as error:
        raise WeightsError(
            "the weights are not on this machine and the hub cannot be reached",
            f"'hub:{repo}/{file}'",
            "Connect once, or fetch the file elsewhere and pass its path.",
        ) from error
    except (RepositoryNotFoundError, EntryNotFoundError) as error:
        raise WeightsError(
            "the hub has no such file", f"'hub:{repo}/{file}'", "Check the repository and file name."
        ) from error
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise WeightsError("the hub did not give the file", error, "Try again later, or pass a local path.") from error


def _announce_license(name: str, known: Iterable[ReleasedWeights]) -> None:
    """Say the licence once a process; contradictory ones are all said."""
    for entry in known:
        if name not in _announced:
            _announced.add(name)
            stated = " / ".join(entry.license)
            contradiction = (
                " (the sources contradict each other; decide for your use)" if len(entry.license) > 1 else ""
            )
            say(f"Licence of {name}: {stated}{contradiction}.")


def _verify(path: Path, sha256: str) -> None:
    with path.open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if actual != sha256:
        raise WeightsError(
            f"{path.name} is not the published file",
            f"sha256 {actual[:12]}…",
            f"Expected {sha256[:12]}…; fetch it again.",
        )


def read_state_dict(path: str | Path, *, trust_pickle: bool = False) -> dict[str, Tensor]:
    """The tensors of a weights file, by name; wrappers such as ``state_dict`` or ``module.`` are taken off.

    Arguments:
        path: ``.safetensors``, or anything `torch.load` reads (recognised by content).
        trust_pickle: Read a file that needs unpickling of arbitrary objects. Such a file can run any program.

    Raises:
        WeightsError: corrupt, without tensors, or it needs ``trust_pickle``.
    """
    path = Path(path)
    content = _load(path, trust_pickle)
    while (
        inner := next((content[key] for key in _WRAPPERS if isinstance(content.get(key), Mapping)), None)
    ) is not None:
        content = inner
    tensors = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
    if not tensors:
        raise WeightsError(
            f"{path.name} holds no tensors", f"the keys {list(content)[:5]}", "Pass the file of weights."
        )
    for prefix in _PREFIXES:
        if all(key.startswith(prefix) for key in tensors):
            tensors = {key.removeprefix(prefix): value for key, value in tensors.items()}
    return tensors


def read_metadata(path: str | Path) -> dict[str, str]:
    """The metadata of a safetensors file."""
    with safetensors.safe_open(str(path), framework="pt") as file:
        return dict(file.metadata() or {})


def _load(path: Path, trust_pickle: bool) -> Mapping[str, Any]:
    if not path.is_file() or path.stat().st_size == 0:
        raise WeightsError("there is no such file of weights", path, "Check the path.")
    with path.open("rb") as file:
        head = file.read(9)
    try:
        if head[8:9] == b"{" and not zipfile.is_zipfile(path):
            return safetensors.torch.load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=not trust_pickle, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        if trust_pickle or ("weights_only" not in str(error).lower() and "unsupported" not in str(error).lower()):
            raise WeightsError(f"{path.name} is not a file of weights", "corrupt data", "Fetch it again.") from error
        raise WeightsError(
            f"{path.name} holds more than tensors, and reading it can run any program",
            "a pickle that is not plain weights",
            "If you trust where it came from, say so: --trust-pickle (trust_pickle=True).",
        ) from error
    except (safetensors.SafetensorError, RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError) as error:
        raise WeightsError(f"{path.name} is not a file of weights", type(error).__name__, "Fetch it again.") from error
    if not isinstance(content, Mapping):
        raise WeightsError(f"{path.name} is not a state dict", type(content).__name__, "Pass a file of named tensors.")
    return content


def load_strictly(module: nn.Module, state: Mapping[str, Tensor], hints: Mapping[str, str] | None = None) -> None:
    """Load `state` into `module`; every key and shape must agree. A module on the meta device takes the tensors over.

    Arguments:
        hints: Part of a key to the configuration field that decides its shape, for the error message.

    Raises:
        WeightsError: names the first key that is missing, unexpected or of another shape, and the field to change.
    """
    own = module.state_dict()
    hints = hints or {}

    def mend(key: str) -> str:
        fields = [hint for part, hint in hints.items() if part in key]
        return (
            f"Change {fields[0]} of the configuration."
            if fields
            else "Use the configuration these weights were made with."
        )

    for key, tensor in own.items():
        if key not in state:
            raise WeightsError(f"the weights lack '{key}'", f"{len(state)} other keys", mend(key))
        if state[key].shape != tensor.shape:
            raise WeightsError(
                f"'{key}' has another shape", f"{tuple(state[key].shape)} instead of {tuple(tensor.shape)}", mend(key)
            )
    for key in state:
        if key not in own:
            raise WeightsError(f"the weights have '{key}', which the network lacks", f"{len(state)} keys", mend(key))
    module.load_state_dict(dict(state), strict=True, assign=any(tensor.is_meta for tensor in own.values()))


def write_safetensors(
    path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any] | None = None
) -> Path:
    """Write tensors; metadata values that are not strings are stored as JSON. The file appears whole or not at all."""
    path = Path(path)
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in (metadata or {}).items()}
    with whole_file(path) as temporary:
        contiguous = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
        safetensors.torch.save_file(contiguous, temporary, metadata=texts)
    return path


@dataclass(frozen=True)
class Checkpoint(Media):
    """Trained weights as an input or output of a job.

    Attributes:
        tensors: Named tensors.
        metadata: What is needed to use them (configuration, data, seed), as text.
    """

    kind: ClassVar[str] = "weights"
    suffixes: ClassVar[tuple[str, ...]] = (".safetensors",)

    tensors: dict[str, Tensor]
    metadata: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, path: str | Path) -> Self:
        tensors = read_state_dict(path)
        try:
            return cls(tensors, read_metadata(path))
        except safetensors.SafetensorError:
            return cls(tensors)

    def _write(self, path: Path) -> None:
        write_safetensors(path, self.tensors, self.metadata)

    def show(self) -> Figure:
        """Number of parameters per group of layers."""
        from matplotlib.figure import Figure

        sizes: dict[str, int] = {}
        for key, tensor in self.tensors.items():
            group = ".".join(key.split(".")[:2])
            sizes[group] = sizes.get(group, 0) + tensor.numel()
        figure = Figure(figsize=(7, 0.3 * len(sizes) + 1.2), layout="constrained")
        axes = figure.add_subplot()
        axes.barh(list(sizes), list(sizes.values()))
        axes.invert_yaxis()
        axes.set_xlabel("parameters")
        return figure
