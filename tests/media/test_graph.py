from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmonia.core.errors import InputError
from harmonia.media import Graph

CAPITALS = [("Rome", "capital of", "Italy"), ("Paris", "capital of", "France"), ("Italy", "borders", "France")]


def put(folder: Path, text: str) -> Path:
    path = folder / "a.txt"
    path.write_text(text)
    return path


word = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=8)


@settings(max_examples=40, deadline=None)
@given(triples=st.lists(st.tuples(word, word, word), min_size=1, max_size=20), suffix=st.sampled_from([".tsv", ".csv"]))
def test_triples_come_back_exactly(
    tmp_path_factory: pytest.TempPathFactory, triples: list[tuple[str, str, str]], suffix: str
) -> None:
    graph = Graph(triples)
    again = Graph.read(graph.write(tmp_path_factory.mktemp("g") / f"a{suffix}"))
    assert again.triples == graph.triples


def test_ids_point_at_names() -> None:
    graph = Graph(CAPITALS)
    assert graph.relations == ("borders", "capital of")
    assert [(graph.entities[h], graph.relations[r], graph.entities[t]) for h, r, t in graph.ids] == CAPITALS
    assert graph.ids.dtype == np.int64


@pytest.mark.parametrize("delimiter", ["\t", ",", ";"])
@pytest.mark.parametrize("header", ["", "head{0}relation{0}tail\n", "Subject{0}predicate{0}object\n"])
def test_delimiter_and_header_are_found(tmp_path: Path, delimiter: str, header: str) -> None:
    lines = "\n\n".join(delimiter.join(triple) for triple in CAPITALS)
    assert list(Graph.read(put(tmp_path, header.format(delimiter) + lines)).triples) == CAPITALS


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a\tr\tb\na\tr\n", "line 2"),
        ("a\tr\tb\t0.5\n", "line 1"),
        ("a\t\tb\n", "line 1"),
        ("just words\n", "line 1"),
        ("\n", "0 triples"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Graph.read(put(tmp_path, text))


def test_unusable_triples_are_named() -> None:
    with pytest.raises(InputError, match="0 triples"):
        Graph([])
    with pytest.raises(InputError, match="triple 2"):
        Graph([("a", "r", "b"), ("a", "", "b")])
    with pytest.raises(InputError, match="triple 1"):
        Graph([(1, 2, 3)])  # type: ignore[list-item]


@pytest.mark.parametrize("entities", [1, 5, 300])
def test_show_draws_small_and_large_graphs(entities: int) -> None:
    rng = np.random.default_rng(0)
    triples = [(f"e{a}", f"$r{r}", f"e{b}") for a, r, b in rng.integers(0, entities, (3 * entities, 3))]
    figure = Graph(triples).show()
    assert str(len(triples)) in figure.get_suptitle()
    figure.canvas.draw()
