"""Problems from files and formulas typed by users, the job, its pictures, and what it refuses."""

from __future__ import annotations

import inspect
import json
import math
import textwrap

import numpy as np
import polars
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harmonia.core.claim import HOLDS, claims_in
from harmonia.core.errors import InputError
from harmonia.core.registry import find
from harmonia.core.task import find_job, jobs_in
from harmonia.kernels.gp_hm import Derivatives, claim, task
from harmonia.kernels.gp_hm.expressions import Expression
from harmonia.kernels.gp_hm.named import NAMED
from harmonia.kernels.gp_hm.problem_file import _File, read_problem
from harmonia.media import Figure, Table, Text

JOBS = jobs_in(task)
LINE = 'equation = "u_xx"\ndomain = [[0, 1]]\npoints = [60]\n'


@settings(deadline=None, max_examples=40, derandomize=True)
@given(a=st.floats(-3, 3), b=st.floats(0.1, 3), n=st.integers(0, 4))
def test_formulas_are_python_arithmetic(a: float, b: float, n: int) -> None:
    x = torch.tensor([0.3, 1.7], dtype=torch.float64)
    text = f"-sin({a!r}*x)^2/{b!r} + (x - {b!r})**{n} + exp(-x)*k - +pi"
    found = Expression(text, ["x", "k"])({"x": x, "k": 2.0})
    expected = -(torch.sin(a * x) ** 2) / b + (x - b) ** n + torch.exp(-x) * 2 - math.pi
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("__import__('os').system('true')", "no such function|functions only"),
        ("x.__class__", "functions only"),
        ("(lambda: 1)()", "no such function|functions only"),
        ("[x for x in y]", "functions only"),
        ("x if x else 1", "functions only"),
        ("'a'", "functions only"),
        ("1j", "real numbers"),
        ("True", "real numbers"),
        ("sin(x, x)", "no such function"),
        ("q + 1", "unknown name"),
        ("x +", "cannot be read"),
        ("", "cannot be read"),
        ("x" * 6000, "too long"),
        ("(" * 900 + "x" + ")" * 900, "cannot be read"),
    ],
)
def test_formulas_that_are_none(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Expression(text, ["x", "y"])


def test_numbers_too_large_and_powers_of_powers_end_at_once() -> None:
    with pytest.raises(InputError, match="too large"):
        Expression("1" + "0" * 400, [])({})
    assert Expression("9^9^9^9", [])({}).isinf()


def test_toml_json_and_yaml_say_the_same() -> None:
    stated = {
        "equation": "u_xx + u_tt = k*u",
        "variables": ["x", "t"],
        "domain": [[0, 1], [-1, 2]],
        "points": [5, 6],
        "source": "x*t",
        "boundary": {"left": 0, "top": {"slope": "x"}, "right": [1, {"slope": 0}], "bottom": "x^2"},
        "parameters": {"k": 3},
    }
    toml = (
        'equation = "u_xx + u_tt = k*u"\nvariables = ["x", "t"]\ndomain = [[0, 1], [-1, 2]]\npoints = [5, 6]\n'
        'source = "x*t"\n[boundary]\nleft = 0\ntop = { slope = "x" }\nright = [1, { slope = 0 }]\nbottom = "x^2"\n'
        "[parameters]\nk = 3\n"
    )
    yaml = pytest.importorskip("yaml").safe_dump(stated)
    mesh = None
    values = []
    for text in (json.dumps(stated), toml, yaml):
        problem = read_problem(text)
        mesh = torch.meshgrid(*problem.axes, indexing="ij")
        u = {(2, 0): mesh[0], (0, 2): mesh[1], (0, 0): mesh[0] * mesh[1]}
        values.append(problem.equation(Derivatives(2, u.__getitem__), *mesh))
        torch.testing.assert_close(problem.source(*mesh), mesh[0] * mesh[1])
        assert set(problem.boundary) == {"left", "top", "right", "bottom"}
    torch.testing.assert_close(values[0], mesh[0] + mesh[1] - 3 * mesh[0] * mesh[1])
    assert all(torch.equal(values[0], value) for value in values)


@pytest.mark.parametrize("name", list(NAMED))
def test_equations_by_name(name: str) -> None:
    parameters = "[parameters]\nk2 = 9\nbeta = 2\ndiffusivity = 0.1\nspeed = 3\nviscosity = 0.1\n"
    text = f'equation = "{name}"\nvariables = ["x", "t"]\ndomain = [[0, 1], [0, 1]]\npoints = [9, 9]\nexact = "x*t"\n'
    problem = read_problem(text + parameters)
    mesh = torch.meshgrid(*problem.axes, indexing="ij")
    expected = {
        "poisson": 0,
        "laplace": 0,
        "helmholtz": 9 * mesh[0] * mesh[1],
        "allen-cahn": mesh[0] * mesh[1] * ((mesh[0] * mesh[1]) ** 2 - 1),
        "advection": 2 * mesh[1] + mesh[0],
        "heat": mesh[0],
        "wave": 0,
        "burgers": mesh[0] + mesh[0] * mesh[1] ** 2,
    }[name]
    torch.testing.assert_close(problem.source(*mesh), expected + 0 * mesh[0])


NUMBERS = "[parameters]\nk2 = 9\nbeta = 2\ndiffusivity = 0.1\nspeed = 3\nviscosity = 0.1\n"


def named(name: str, variables: str, numbers: str = NUMBERS) -> str:
    count = len(variables)
    grid = f"domain = {[[0, 1]] * count}\npoints = {[9] * count}\nvariables = {list(variables)}\n"
    return f'equation = "{name}"\n{grid}source = 1\nboundary = 0\n{numbers}'


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("heat", "u_t - diffusivity*(u_xx + u_yy)"),
        ("Wave", "u_tt - speed^2*(u_xx + u_yy)"),
        ("poisson", "(u_xx + u_yy + u_tt)"),
    ],
)
def test_equations_by_name_in_two_dimensions_of_space(name: str, written: str) -> None:
    assert read_problem(named(name, "xyt")).equation_text == written


@pytest.mark.parametrize(
    ("text", "message"),
    [
        *((named(name, "x"), "space and time") for name in ("heat", "wave", "advection", "burgers")),
        *((named(name, "tx"), "space and time") for name in ("heat", "wave", "advection", "burgers")),
        *((named(name, "xyt"), "one variable of space") for name in ("advection", "burgers")),
        (named("heat", "xt", ""), "needs a number that is not given .got diffusivity"),
        (named("u_t - 0.1*laplacian", "xyt"), "along time"),
    ],
)
def test_equations_by_name_for_other_variables(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_problem(text)


def test_the_help_states_a_whole_problem_and_every_key() -> None:
    doc = inspect.getdoc(task.solve)
    example = doc[doc.index("    equation =") : doc.index("Its keys:")]
    problem = read_problem(textwrap.dedent(example))
    assert problem.equation_text == "u_t - diffusivity*(u_xx + u_yy)"
    assert all(f"\n    {key} " in doc for key in _File.__struct_fields__)
    for name, equation in NAMED.items():
        assert name in doc
        assert all(parameter in doc for parameter in equation.parameters)


@pytest.mark.parametrize("equation", ["u_xx = 1/u", "u_xx + sqrt(u)"])
def test_equations_that_are_not_finite_are_refused(equation: str) -> None:
    text = Text(LINE.replace("u_xx", equation) + 'source = "1"\nboundary = 0\n')
    with pytest.raises(InputError, match="not finite at a guess"):
        task.solve(text, iterations=0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("just words", "does not state a problem"),
        ("equation = u_xx", "no TOML"),
        ('{"equation": 1', "no JSON"),
        ("a: [1", "neither TOML, JSON nor YAML"),
        ('equation = "u_xx"', "does not state a problem"),
        (LINE + 'colour = "red"', "does not state a problem"),
        (LINE + 'exact = "v"', "unknown name"),
        (LINE + 'exact = "x"\nvariables = ["u"]', "single letters"),
        (LINE.replace("60", "2") + 'exact = "x"', "between 4 and 5000"),
        (LINE.replace("[0, 1]", "[1, 0]") + 'exact = "x"', "is empty"),
        (LINE.replace("[60]", "[60, 60]") + 'exact = "x"', "one to three dimensions"),
        (LINE.replace("u_xx", "u_yy") + 'exact = "x"', "unknown variable"),
        (LINE.replace("u_xx", "u^2") + 'exact = "x"', "no derivative"),
        (LINE.replace("u_xx", "u_xx = 1 = 2") + 'exact = "x"', "one equals sign"),
        (LINE + "[boundary]\nwest = 0", "no such side"),
        (LINE + "[boundary]\nleft = { angle = 1 }", "cannot be read"),
        (LINE + 'exact = "x"\n[parameters]\nsin = 1', "name that is taken"),
        (LINE + 'exact = "x"\nmax_frequency = [1, 2]', "one an axis"),
    ],
)
def test_files_that_state_no_problem(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_problem(text)


def test_the_job_solves_a_line(tmp_path) -> None:
    text = Text(LINE + 'exact = "sin(40*x) + x"\nmax_frequency = 12\n')
    found = find_job(JOBS, "solve").run({"problem": text, "iterations": "3"})
    frame = found["values"].frame
    assert frame.columns == ["x", "u", "standard_deviation", "exact"]
    np.testing.assert_allclose(frame["u"], frame["exact"], atol=1e-3)
    assert found["residual"] < 1e-2
    assert "true relative error" in found["report"].text
    assert isinstance(found["spectrum"], Figure)
    written = find_job(JOBS, "solve").save(found, tmp_path, "p")
    assert sorted(path.suffix for path in written) == [".csv", ".png", ".png", ".txt"]


def test_the_job_fits_measurements_and_draws_planes() -> None:
    x = np.random.default_rng(0).uniform(size=(30, 2))
    u = np.sin(5 * x[:, 0]) * np.cos(3 * x[:, 1])
    table = Table(polars.DataFrame({"x": x[:, 0], "y": x[:, 1], "u": u}))
    text = Text(
        'equation = "poisson"\ndomain = [[0, 1], [0, 1]]\npoints = [20, 20]\nsource = "-34*sin(5*x)*cos(3*y)"\n'
        'max_frequency = 3\n[boundary]\nleft = 0\nright = "sin(5)*cos(3*y)"\nbottom = "sin(5*x)"\n'
    )
    found = task.solve(text, measurements=table, iterations=0)
    frame = found["values"].frame
    truth = np.sin(5 * frame["x"].to_numpy()) * np.cos(3 * frame["y"].to_numpy())
    np.testing.assert_allclose(frame["u"], truth, atol=0.02)
    with pytest.raises(InputError, match="lack a column"):
        task.solve(text, measurements=Table(polars.DataFrame({"x": [0.1], "u": [0.0]})))


def test_measurements_do_where_no_condition_is_known() -> None:
    text = Text('equation = "u_xx + 900*u"\ndomain = [[0, 1]]\npoints = [60]\nmax_frequency = 8\n')
    x = np.random.default_rng(0).uniform(size=12)
    table = Table(polars.DataFrame({"station": ["a"] * 12, "x": x, "u": np.sin(30 * x + 1)}))
    frame = task.solve(text, measurements=table, iterations=0)["values"].frame
    np.testing.assert_allclose(frame["u"], np.sin(30 * frame["x"].to_numpy() + 1), atol=0.02)
    with pytest.raises(InputError, match="needs boundary conditions"):
        task.solve(text)


def test_the_job_shows_the_middle_plane_of_a_box() -> None:
    text = 'equation = "poisson"\ndomain = [[0, 1], [0, 1], [0, 1]]\npoints = [12, 12, 12]\nexact = "sin(4*x)*y*z"\n'
    found = task.solve(Text(text), iterations=0)
    assert found["values"].frame.height == 12**3
    assert isinstance(found["solution"], Figure)


def test_the_example_reads() -> None:
    problem = read_problem(task.EXAMPLE)
    assert problem.title == "Ripples on a slow wave"
    assert [len(x) for x in problem.axes] == [140, 140]


@pytest.mark.parametrize("each", [c for c in claims_in(claim) if c.tier == "quick"], ids=lambda c: c.name)
def test_quick_claims_hold(each) -> None:
    assert each.check().verdict in HOLDS


def test_the_card_is_complete() -> None:
    card = find("gp-hm").card
    assert len(card.errata) >= 4
    assert len(claims_in(claim)) >= 15
