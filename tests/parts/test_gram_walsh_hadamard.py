"""The fast transform against Sylvester's matrix, and its algebra."""

from __future__ import annotations

import pytest
import scipy.linalg
import torch
from hypothesis import given
from hypothesis import strategies as st

from harmonia.core.errors import InputError
from harmonia.parts.gram import walsh_hadamard

DTYPES = (torch.float32, torch.float64, torch.complex64, torch.complex128)


def _numbers(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("bits", [0, 1, 3, 4, 5, 9])
def test_agrees_with_the_matrix(bits, dtype):
    x = _numbers(3, 2, 1 << bits, dtype=dtype)
    matrix = torch.from_numpy(scipy.linalg.hadamard(1 << bits)).to(dtype)
    found = walsh_hadamard(x)
    assert found.dtype == dtype
    atol = 1e-4 if dtype in (torch.float32, torch.complex64) else 1e-12
    torch.testing.assert_close(found, x @ matrix, atol=atol, rtol=0)
    torch.testing.assert_close(walsh_hadamard(x, orthonormal=True).norm(), x.norm())


@given(bits=st.integers(0, 10), values=st.integers(0, 2**32 - 1))
def test_is_its_own_inverse_on_integers(bits, values):
    x = torch.randint(-1000, 1000, (2, 1 << bits), generator=torch.Generator().manual_seed(values)).double()
    kept = x.clone()
    assert torch.equal(walsh_hadamard(walsh_hadamard(x)), x * 2**bits)
    assert torch.equal(x, kept)


def test_products_of_transforms_are_dyadic_convolutions():
    x, z = _numbers(16), _numbers(16, seed=1)
    index = torch.arange(16)
    convolved = torch.stack([(x * z[index ^ b]).sum() for b in range(16)])
    torch.testing.assert_close(walsh_hadamard(x) * walsh_hadamard(z), walsh_hadamard(convolved))


def test_axes_strides_conjugates_and_empty_batches():
    x = _numbers(8, 5, 4, dtype=torch.complex128)
    turned = x.movedim(0, -1)
    torch.testing.assert_close(walsh_hadamard(turned), walsh_hadamard(turned.contiguous()))
    torch.testing.assert_close(walsh_hadamard(x.conj()), walsh_hadamard(x).conj())
    assert walsh_hadamard(x[:0]).shape == (0, 5, 4)
    assert walsh_hadamard(torch.ones(4)).shape == (4,)


def test_many_rows_and_long_rows_are_cut_into_blocks():
    for x in (_numbers(5000, 16), _numbers(3, 1 << 16)):
        both = torch.cat([walsh_hadamard(row[None]) for row in (x[0], x[-1])])
        torch.testing.assert_close(walsh_hadamard(x)[[0, -1]], both)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=str)
def test_derivatives(dtype):
    x = _numbers(2, 8, dtype=dtype).requires_grad_()
    assert torch.autograd.gradcheck(walsh_hadamard, x, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(lambda v: walsh_hadamard(v).abs().square(), x)


def test_vmap():
    x = _numbers(3, 8, 2)
    torch.testing.assert_close(torch.vmap(walsh_hadamard, 2, 1)(x), walsh_hadamard(x.mT))
    jacobian = torch.func.jacrev(walsh_hadamard)(x[0, :, 0])
    torch.testing.assert_close(jacobian, torch.from_numpy(scipy.linalg.hadamard(8)).double())


@pytest.mark.parametrize("shape", [(3,), (4, 0)])
def test_other_sizes_are_refused(shape):
    with pytest.raises(InputError, match="power of two"):
        walsh_hadamard(torch.ones(shape))
