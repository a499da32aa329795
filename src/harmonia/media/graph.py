"""Knowledge graphs: triples of head, relation and tail."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
from jaxtyping import Int64

from harmonia.core.errors import InputError
from harmonia.core.media import Media
from harmonia.media.files import GIB, decoded_text, existing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as MatplotlibFigure

FILE_LIMIT = GIB

_HEADERS = frozenset(
    {("head", "tail"), ("h", "t"), ("subject", "object"), ("s", "o"), ("source", "target"), ("from", "to")}
)
_NAME = re.compile(r"[^\t\r\n]*\S[^\t\r\n]*")
_DRAWN_ENTITIES = 60


@dataclass(frozen=True, eq=False)
class Graph(Media):
    """Labelled edges from heads to tails.

    Arguments:
        triples: ``(head, relation, tail)``, three names each, without tabs and line breaks; at least one.

    Example:
        >>> graph = Graph([("Rome", "capital of", "Italy"), ("Paris", "capital of", "France")])
        >>> graph.entities
        ('France', 'Italy', 'Paris', 'Rome')
        >>> graph.ids
        array([[3, 0, 1],
               [2, 0, 0]])
    """

    kind: ClassVar[str] = "graph"
    suffixes: ClassVar[tuple[str, ...]] = (".tsv", ".csv")

    triples: Sequence[tuple[str, str, str]]

    def __post_init__(self) -> None:
        if not len(self.triples):
            raise InputError("the graph is empty", "0 triples", "Pass at least one triple.")
        for index, triple in enumerate(self.triples):
            if len(triple) != 3 or not all(isinstance(part, str) and _NAME.fullmatch(part) for part in triple):
                mend = "Pass (head, relation, tail), three names each, without tabs and line breaks."
                raise InputError(f"triple {index + 1} is no triple", repr(triple)[:200], mend)
        object.__setattr__(self, "triples", tuple(map(tuple, self.triples)))

    @cached_property
    def entities(self) -> tuple[str, ...]:
        """All heads and tails, sorted."""
        return tuple(sorted({part for head, _, tail in self.triples for part in (head, tail)}))

    @cached_property
    def relations(self) -> tuple[str, ...]:
        """All relations, sorted."""
        return tuple(sorted({relation for _, relation, _ in self.triples}))

    @cached_property
    def ids(self) -> Int64[np.ndarray, "triples 3"]:
        """The triples as positions in `entities`, `relations` and `entities`."""
        entity = {name: index for index, name in enumerate(self.entities)}
        relation = {name: index for index, name in enumerate(self.relations)}
        return np.array([(entity[h], relation[r], entity[t]) for h, r, t in self.triples], dtype=np.int64)

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read one triple a line, its parts between tabs, commas or semicolons; also gzipped.

        A first line such as ``head  relation  tail`` is taken as a header. A fourth column is an error, since it may
        be a weight, a time or a truth value, and a graph has none.

        Raises:
            InputError: missing, empty, binary, above `FILE_LIMIT`, or a line without three parts; it names the line.
        """
        path = existing(path, cls.kind, FILE_LIMIT)
        lines = re.split(r"\r\n|\r|\n", decoded_text(path, cls.kind, FILE_LIMIT))
        filled = [line for line in lines[:1000] if line.strip()]
        delimiter = max("\t,;", key=lambda d: sum(len(_parts(line, d)) == 3 for line in filled))
        triples: list[tuple[str, str, str]] = []
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            parts = tuple(part.strip() for part in _parts(line, delimiter))
            if len(parts) != 3 or not all(parts):
                got = f"'{line.strip()[:80]}' in line {number} of {path.name}"
                raise InputError("a line of the graph is no triple", got, "Write head, relation and tail with tabs.")
            triples.append(parts)
        if len(triples) > 1 and (triples[0][0].lower(), triples[0][2].lower()) in _HEADERS:
            del triples[0]
        return cls(triples)

    def _write(self, path: Path) -> None:
        with path.open("w", encoding="utf-8", newline="") as file:
            if path.suffix.lower() == ".csv":
                csv.writer(file, lineterminator="\n").writerows(self.triples)
            else:
                file.writelines("\t".join(triple) + "\n" for triple in self.triples)

    def show(self) -> MatplotlibFigure:
        """The best connected entities and their relations; beside them how often each relation occurs."""
        from harmonia.media.figure import MUTED, PALETTE, new_figure

        counts = Counter(relation for _, relation, _ in self.triples).most_common(12)
        colours = {name: PALETTE[i] if i < 7 else MUTED for i, (name, _) in enumerate(counts)}
        title = f"{len(self.triples):,} triples, {len(self.entities):,} entities, {len(self.relations):,} relations"
        figure, (network, bars) = new_figure(1, 2, title=title, width=11, height=5.5, width_ratios=(1.9, 1))
        self._draw_network(network, colours)
        names = [name[:26] for name, _ in counts]
        bars.barh(range(len(names)), [count for _, count in counts], color=[colours[name] for name, _ in counts])
        bars.set_yticks(range(len(names)), names)
        bars.invert_yaxis()
        bars.grid(False, axis="y")
        bars.set_xlabel("triples")
        return figure

    def _draw_network(self, axes: Axes, colours: dict[str, str]) -> None:
        import networkx
        from matplotlib.collections import LineCollection

        from harmonia.media.figure import INK, MUTED

        degree = Counter(part for head, _, tail in self.triples for part in (head, tail))
        nodes = [name for name, _ in degree.most_common(_DRAWN_ENTITIES)]
        inside = set(nodes)
        edges = [(h, r, t) for h, r, t in self.triples if h in inside and t in inside and h != t]
        drawn = networkx.Graph()
        drawn.add_nodes_from(nodes)
        drawn.add_edges_from((h, t) for h, _, t in edges)
        spot = networkx.spring_layout(drawn, seed=0, k=2.2 / max(1, len(nodes)) ** 0.5, iterations=120)
        lines = [(tuple(spot[h]), tuple(spot[t])) for h, _, t in edges]
        shades = [colours.get(r, MUTED) for _, r, _ in edges]
        strength = 0.55 if len(edges) < 300 else max(0.08, 160 / len(edges))
        axes.add_collection(LineCollection(lines, colors=shades, linewidths=1.0, alpha=strength, zorder=1))
        where = np.array([spot[name] for name in nodes])
        sizes = 20 + 160 * np.array([degree[name] for name in nodes]) / max(degree.values())
        axes.scatter(where[:, 0], where[:, 1], s=sizes, color="white", edgecolors=INK, linewidths=0.9, zorder=2)
        for name in nodes[:30]:
            axes.annotate(name[:18], spot[name], xytext=(0, 7), textcoords="offset points", ha="center", fontsize=7)
        if len(nodes) < len(self.entities):
            axes.set_title(f"the {len(nodes)} best connected entities", fontsize=9, color=MUTED, loc="left")
        axes.set_axis_off()
        axes.margins(0.08)


def _parts(line: str, delimiter: str) -> list[str]:
    """The cells of a line; quotes count only where commas or semicolons need them."""
    if delimiter == "\t":
        return line.split("\t")
    try:
        return next(csv.reader([line], delimiter=delimiter))
    except (csv.Error, StopIteration):
        return line.split(delimiter)
