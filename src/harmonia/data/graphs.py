"""Knowledge graphs that PyKEEN brings; read from its files, without importing it."""

from __future__ import annotations

from typing import Literal

from harmonia.core.errors import InputError
from harmonia.data.source import from_source, package_folder
from harmonia.media import Graph

Part = Literal["all", "train", "valid", "test"]


@from_source(
    "Nations",
    by="R. Rummel, 1992; as prepared by C. Kemp et al., 2006",
    licence="none stated; research use",
    package="pykeen (MIT)",
)
def nations(part: Part = "all") -> Graph:
    """How 14 nations dealt with one another around 1955: 55 relations, 1,992 triples.

    Example:
        >>> graph = nations()
        >>> len(graph.triples), len(graph.entities), len(graph.relations)
        (1992, 14, 55)
    """
    return _triples("nations", part)


@from_source(
    "Unified Medical Language System, semantic network",
    by="A. McCray, 2003; as prepared by C. Kemp et al., 2006",
    licence="none stated; research use (the UMLS itself has its own licence)",
    package="pykeen (MIT)",
)
def umls(part: Part = "all") -> Graph:
    """Medical concepts and what they do to one another: 135 entities, 46 relations, 6,529 triples.

    Example:
        >>> len(umls().entities), len(umls("test").triples)
        (135, 661)
    """
    return _triples("umls", part)


@from_source(
    "Alyawarra kinship",
    by="W. Denham, 1973; as prepared by C. Kemp et al., 2006",
    licence="none stated; research use",
    package="pykeen (MIT)",
)
def kinships(part: Part = "all") -> Graph:
    """Kinship terms among 104 people of the Alyawarra: 25 relations, 10,686 triples.

    Example:
        >>> len(kinships().entities), len(kinships().relations)
        (104, 25)
    """
    return _triples("kinships", part)


def _triples(name: str, part: Part) -> Graph:
    parts = ("train", "valid", "test")
    if part not in ("all", *parts):
        raise InputError("a graph has no such part", repr(part), "Use 'all', 'train', 'valid' or 'test'.")
    folder = package_folder("pykeen", extra="graphs") / "datasets" / name
    triples = []
    for file in parts if part == "all" else (part,):
        for line in (folder / f"{file}.txt").read_text(encoding="utf-8").splitlines():
            head, relation, tail = line.split("\t")
            triples.append((head, relation, tail))
    return Graph(triples)
