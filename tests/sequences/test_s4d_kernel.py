"""S4D's initialisations and kernel against dense matrices, closed forms and the plain formulas."""

from __future__ import annotations

import copy
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy.linalg import expm

from harmonia.core.errors import InputError
from harmonia.core.progress import watched
from harmonia.sequences.s4d import S4DKernel
from harmonia.sequences.s4d.initialization import hippo_legs, initial_drive, initial_poles, legs


class Listener:
    def __init__(self):
        self.said = []

    def step(self, label, done, total):
        pass

    def say(self, message):
        self.said.append(message)


def made(*args, seed=0, **options):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return S4DKernel(*args, **options)


def plain(kernel, length, rate=1.0):
    """The definition, one mode and lag at a time, in numpy's complex128: K_l = 2 Re sum_n C_n dB_n dA_n^l."""
    heads = kernel.C.shape[1]
    inverse = {"exp": np.exp, "softplus": lambda x: np.log1p(np.exp(x)), "none": lambda x: x}
    inverse |= {"relu": lambda x: np.maximum(x, 0) + 1e-4, "sigmoid": lambda x: 1 / (1 + np.exp(-x))}
    array = {name: p.detach().double().numpy() for name, p in kernel.named_parameters()}
    dt = inverse[kernel.config.dt_transform](array["inv_dt"]) * rate
    a = -inverse[kernel.config.real_transform](array["A_real"]) - 1j * inverse[kernel.config.imag_transform](
        array["A_imag"]
    )
    b, c = array["B"][0] @ [1, 1j], array["C"] @ [1, 1j]
    a, b = np.tile(a, (heads // len(a), 1)), np.tile(b, (heads // len(b), 1))
    if kernel.config.discretization == "bilinear":
        multiplier, drive = (1 + dt * a / 2) / (1 - dt * a / 2), dt * b / (1 - dt * a / 2)
    else:
        multiplier, drive = np.exp(dt * a), b * (np.exp(dt * a) - 1) / a
    return 2 * np.einsum("chn,hn,hnl->chl", c, drive, multiplier[..., None] ** np.arange(length)).real


# ----------------------------------------------------------------------------------------------------- initialisation


def test_legs_splits_hippo_into_a_normal_and_a_rank_one_part():
    a, drive = hippo_legs(16)
    found = legs(16)
    basis = torch.cat([found.basis, found.basis.conj()], 1)
    pole = torch.cat([found.pole, found.pole.conj()])
    low_rank = torch.sqrt(torch.arange(16, dtype=torch.float64) + 0.5)
    rebuilt = basis @ torch.diag(pole) @ basis.conj().T
    torch.testing.assert_close(rebuilt.real, a + torch.outer(low_rank, low_rank), atol=1e-10, rtol=0)
    assert float(rebuilt.imag.abs().max()) < 1e-10
    torch.testing.assert_close(2 * (found.basis @ found.drive).real, drive)
    torch.testing.assert_close(2 * (found.basis @ found.low_rank).real, low_rank)


def test_hippo_legs_states_are_legendre_polynomials_of_decaying_time():
    """(e^{tA} B)_n = sqrt(2n+1) P_n(2 e^{-t} - 1) e^{-t}."""
    a, drive = hippo_legs(12)
    for t in (0.05, 0.7, 3.0):
        n = np.arange(12)
        legendre = np.array([np.polynomial.legendre.Legendre.basis(k)(2 * math.exp(-t) - 1) for k in n])
        np.testing.assert_allclose(expm(t * a.numpy()) @ drive.numpy(), np.sqrt(2 * n + 1) * legendre * math.exp(-t))


def test_the_spectrum_of_legs_grows_as_the_square_of_the_state_and_inv_follows_it():
    for size in (64, 256):
        top = float(-legs(size).pole.imag.min())
        assert top == pytest.approx(size**2 / math.pi, rel=1e-3)
        inverse = float(-initial_poles("inv", size, 1).imag.min())
        assert inverse == pytest.approx(top, rel=0.02)


@pytest.mark.parametrize(
    ("init", "expected"),
    [
        ("lin", [-0.5, -0.5 - 1j * math.pi]),
        ("inv", [-0.5 - 1j * 12 / math.pi, -0.5 - 1j * 4 / math.pi * (4 / 3 - 1)]),
        ("real", [-1, -2]),
        ("quad", [-0.5 - 1j / math.pi, -0.5 - 9j / math.pi]),
        ("inv2", [-0.5 - 1j * 12 / math.pi, -0.5 - 1j * 4 / math.pi]),
    ],
)
def test_initialisations_by_hand(init, expected):
    np.testing.assert_allclose(initial_poles(init, 4, 1)[0].numpy(), expected)


def test_diag_is_half_inv_and_half_lin_and_scales_scale():
    both = initial_poles("diag", 8, 4)
    torch.testing.assert_close(both[:2], initial_poles("inv", 8, 2))
    torch.testing.assert_close(both[2:], initial_poles("lin", 8, 2))
    scaled = initial_poles("lin", 8, 1, real_scale=3.0, imag_scale=0.1)
    np.testing.assert_allclose(scaled[0].numpy(), -1.5 - 0.1j * math.pi * np.arange(4))
    with pytest.raises(InputError, match="even number of copies"):
        initial_poles("diag", 8, 3)


def test_drives_have_unit_modulus_and_that_of_legs_is_clipped():
    for drive in ("constant", "alternating", "unit-cw", "unit-ccw"):
        np.testing.assert_allclose(initial_drive("lin", drive, 8, 1).abs().numpy(), 1)
    assert float(initial_drive("legs", "constant", 64, 1).imag.abs().max()) <= 2
    torch.testing.assert_close(
        initial_drive("lin", "unit-cw", 8, 1), initial_drive("lin", "unit-ccw", 8, 1).conj().resolve_conj()
    )


# ------------------------------------------------------------------------------------------------------------- kernel


@pytest.mark.parametrize("discretization", ["zoh", "bilinear"])
@pytest.mark.parametrize("transform", ["exp", "softplus", "relu", "sigmoid", "none"])
@pytest.mark.parametrize("rate", [1.0, 0.5, 2.0])
def test_kernel_is_its_definition(discretization, transform, rate):
    kernel = made(6, d_state=8, n_ssm=3, channels=2, discretization=discretization, real_transform=transform).double()
    np.testing.assert_allclose(
        kernel.kernel(50, rate).detach().numpy(), plain(kernel, 50, rate), atol=1e-9 * np.abs(plain(kernel, 50)).max()
    )


@pytest.mark.parametrize("init", ["lin", "inv", "legs", "rand", "real", "diag", "quad", "inv2"])
def test_every_initialisation_gives_the_poles_it_names(init):
    kernel = made(4, d_state=8, init=init, n_ssm=2, dt_tie=False)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.rand(4, 4)  # the steps are drawn first
        expected = initial_poles(init, 8, 2).repeat(2, 1)
    # The inverse of the transform of an imaginary part of 0 is 1e-4, as in the official code.
    np.testing.assert_allclose(kernel.pole().detach().numpy(), expected.numpy(), atol=1.1e-4, rtol=1e-5)


def test_steps_lie_log_uniformly_between_their_bounds():
    steps = made(4000, d_state=2, dt_min=1e-3, dt_max=1e-1).step_size().detach()
    assert float(steps.min()) >= 1e-3
    assert float(steps.max()) <= 1e-1 * 1.0001
    quartiles = torch.log10(steps.flatten()).quantile(torch.tensor([0.25, 0.5, 0.75]))
    np.testing.assert_allclose(quartiles.numpy(), [-2.5, -2, -1.5], atol=0.06)


def test_dss_is_the_softmax_of_its_modes():
    """Every mode's response is e^{l m} over its sum, times (1 - e^{-...}) terms that cancel: sums to C B / a."""
    kernel = made(3, d_state=8, discretization="dss", dt_min=0.01).double()
    pole, c = kernel.pole(), torch.view_as_complex(kernel.C)[0]
    torch.testing.assert_close(kernel.kernel(40)[0].sum(-1), (c / pole).real.sum(-1), rtol=1e-5, atol=1e-5)


def test_dss_stays_finite_with_modes_that_grow():
    kernel = made(2, d_state=4, discretization="dss", real_transform="none", dt_min=0.05).double()
    with torch.no_grad():
        kernel.A_real.copy_(torch.tensor([[-30.0, 0.5], [0.5, -1.0]]))
    found = kernel.kernel(400)
    assert bool(torch.isfinite(found).all())
    # Written forwards: (e^m - 1) / (a (e^{L m} - 1)) e^{l m} for a growing mode, in units where it does not overflow.
    with torch.no_grad():
        kernel.A_real.copy_(torch.tensor([[-0.2, 0.5], [0.5, -1.0]]))
    pole, m = kernel.pole(), kernel.step_size() * kernel.pole()
    weights = torch.view_as_complex(kernel.C)[0] * (m.exp() - 1) / (pole * ((20 * m).exp() - 1))
    grows = pole.real > 0
    # The official code, whose sign the growing modes follow: e^{(l - L + 1) m} and e^{-m}.
    weights = torch.where(
        grows, torch.view_as_complex(kernel.C)[0] * ((-m).exp() - 1) / (pole * ((-20 * m).exp() - 1)), weights
    )
    lags = torch.arange(20) - 19 * grows[..., None]
    expected = (weights[..., None] * torch.exp(m[..., None] * lags)).sum(-2).real
    torch.testing.assert_close(kernel.kernel(20)[0], expected, rtol=1e-5, atol=1e-5)


def test_bandlimit_silences_fast_modes_and_lower_rates_silence_more():
    kernel = made(4, d_state=64, bandlimit=1.0, dt_min=0.05, dt_max=0.1)
    turns = kernel.step_size() * kernel.pole().imag.abs() / (2 * math.pi)
    torch.testing.assert_close(kernel.audible(), (turns < 0.5).float())
    torch.testing.assert_close(kernel.audible(2.0), (turns < 0.25).float())
    torch.testing.assert_close(kernel.audible(0.5), (turns < 0.5).float())
    silent = made(4, d_state=64, bandlimit=1e-9)
    assert not silent.kernel(10).any()


def test_lower_rates_tell_of_aliases_once():
    kernel, listener = made(4, d_state=64, dt_min=0.05), Listener()
    with watched(listener):
        kernel.kernel(10, 4.0)
        kernel.kernel(10, 4.0)
    assert len(listener.said) == 1
    assert "bandlimit" in listener.said[0]


def test_l_max_cuts_the_kernel_and_says_so():
    kernel, listener = made(2, d_state=4, l_max=10), Listener()
    with watched(listener):
        assert kernel.kernel(30).shape[-1] == 10
        assert kernel.kernel(30, 2.0).shape[-1] == 5
    assert "cut" in listener.said[0]


def test_kernel_is_remembered_in_evaluation_until_a_parameter_changes():
    kernel = made(3, d_state=8).eval()
    with torch.no_grad():
        first = kernel.kernel(20)
        assert kernel.kernel(20) is first
        assert kernel.kernel(21) is not first
        kernel.kernel(20)
        kernel.C.mul_(2)
        torch.testing.assert_close(kernel.kernel(20), 2 * first)
        kernel.load_state_dict({name: value.clone() for name, value in made(3, d_state=8, seed=1).state_dict().items()})
        assert not torch.allclose(kernel.kernel(20), 2 * first)
    assert kernel.kernel(20).requires_grad
    assert copy.deepcopy(kernel)._kept == {}


def test_frozen_parameters_are_not_trained():
    kernel = made(3, d_state=8, frozen=("A", "B"))
    assert [name for name, p in kernel.named_parameters() if p.requires_grad] == ["inv_dt", "C"]


@pytest.mark.parametrize("options", [{}, {"discretization": "bilinear"}, {"discretization": "dss"}], ids=str)
def test_kernel_has_right_gradients(options):
    kernel = made(2, d_state=4, dt_min=0.02, **options).double()
    names = list(dict(kernel.named_parameters()))

    def found(*values):
        return torch.func.functional_call(kernel, dict(zip(names, values)), (), {})

    kernel.forward = lambda: kernel._kernel(12, 1.0)
    assert torch.autograd.gradcheck(found, tuple(p.detach().clone().requires_grad_() for p in kernel.parameters()))


def test_forward_state_is_steps():
    kernel = made(3, d_state=8)
    u = torch.randn(2, 3, 40, generator=torch.Generator().manual_seed(0))
    state = kernel.default_state(2)
    for t in range(40):
        _, state = kernel.step(u[:, :, t], state)
    torch.testing.assert_close(kernel.forward_state(u, kernel.default_state(2)), state, atol=1e-5, rtol=1e-4)


def test_uneven_samples_are_even_ones_that_are_held():
    kernel = made(3, d_state=8, channels=2).double()
    generator = torch.Generator().manual_seed(0)
    u = torch.randn(2, 3, 30, dtype=torch.float64, generator=generator)
    even = kernel.irregular(u, torch.ones(2, 30, dtype=torch.float64))
    system = kernel.system()
    torch.testing.assert_close(even, system.run(u, system.rest(2))[0])
    # Held for 1, 2, 3 or 0 samples: the dense signal's outputs at the ends.
    times = torch.randint(0, 4, (30,), generator=generator)
    dense = system.run(u.repeat_interleave(times, -1), system.rest(2))[0]
    ends = times.cumsum(0) - 1
    found = kernel.irregular(u, times.double().expand(2, 30))
    torch.testing.assert_close(found[..., ends >= 0], dense[..., ends[ends >= 0]])
    with pytest.raises(InputError, match="not negative"):
        kernel.irregular(u, -torch.ones(2, 30, dtype=torch.float64))
    with pytest.raises(InputError, match="zero-order hold"):
        made(3, d_state=8, discretization="bilinear").double().irregular(u, torch.ones(2, 30, dtype=torch.float64))


# ---------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"d_state": 7}, "conjugate pairs"),
        ({"n_ssm": 3}, "divides the width"),
        ({"dt_min": 0.0}, "positive bounds"),
        ({"frozen": ("C",)}, "can be frozen"),
        ({"bandlimit": 0.0}, "band limit"),
        ({"channels": 0}, "positive"),
        ({"hippo": True}, "fields this model does not know"),
    ],
    ids=str,
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        S4DKernel(4, **options)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("real_transform", {"init": "real"}),
        ("imag_transform", {}),
        ("dt_transform", {"dt_min": 1.0, "dt_max": 3.0}),
    ],
)
def test_a_sigmoid_that_cannot_reach_the_start_is_refused(name, options):
    with pytest.raises(InputError, match=f"{name}='sigmoid' reaches values below 1"):
        S4DKernel(4, 8, **options, **{name: "sigmoid"})


def test_uneven_samples_say_which_options_are_in_the_way():
    with pytest.raises(InputError, match="got discretization='bilinear', bidirectional=False"):
        made(3, d_state=8, discretization="bilinear").irregular(torch.ones(2, 3, 10), torch.ones(2, 10))


def test_what_needs_the_whole_input_carries_no_state():
    with pytest.raises(InputError, match="whole input"):
        made(4, bidirectional=True).recurrent()
    with pytest.raises(InputError, match="l_max"):
        made(4, l_max=10).recurrent()
    with pytest.raises(InputError, match="no recurrence"):
        made(4, discretization="dss").recurrent()
    with pytest.raises(InputError, match="at least one sample"):
        made(4).kernel(0)
    with pytest.raises(InputError, match="sampling ratio"):
        made(4).kernel(10, -1.0)


def test_words_and_numbers_that_are_no_choice_are_refused_without_the_type_checker_of_tests():
    """The hook of our tests refuses them first, so this runs in a process of its own."""
    code = """
import torch
from harmonia.core.errors import InputError
from harmonia.sequences.s4d import S4D, S4DKernel, S4DModel
wrong = [
    (S4DKernel, {"init": "fourier"}), (S4DKernel, {"drive_init": "loud"}), (S4DKernel, {"discretization": "euler"}),
    (S4DKernel, {"real_transform": "tanh"}), (S4D, {"mixing": "sum"}),
    (lambda width, **options: S4DModel(options), {"norm": "group"}),
    (lambda width, **options: S4DModel(options), {"pooling": "max"}),
    (lambda width, **options: S4DModel(options), {"d_model": 2.5}),
    (S4DKernel, {"d_state": 8.0}), (S4DKernel, {"n_ssm": 1.0}), (lambda width: S4DKernel(2.5), {}),
    (lambda width: S4DKernel(width, 8).irregular(torch.ones(2, width, 10), torch.ones(2, 9)), {}),
]
for make, options in wrong:
    try:
        make(4, **options)
    except InputError as error:
        print(error.what)
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    assert found == [
        "there is no such initialisation",
        "there is no such input vector",
        "there is no such discretisation",
        "there is no such transform",
        "there is no such mixing of heads",
        "the network has no such choice",
        "the network has no such choice",
        "widths and layers are counted from 1",
        "the state holds conjugate pairs",
        "'n_ssm' is a positive whole number",
        "the number of copies of A divides the width",
        "one interval belongs to each sample",
    ]
