"""Fixed linear maps over positions: graph aggregation, resizing, indexing."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.parts.infwidth.layers import MixesPositions
from harmonia.parts.infwidth.state import KernelState


class LinearMap(MixesPositions):
    """``f'(p) = sum_r P[p, r] f(r)``, so that ``K' = P K P^T``, the same for the tangent kernel.

    One matrix per spatial dimension: an adjacency matrix aggregates over the neighbours in a graph, an interpolation
    matrix per axis resizes an image, rows of the identity pick positions.

    Arguments:
        matrices: ``(new positions, positions)``, one for each axis after the channels.

    Example:
        >>> import torch
        >>> from harmonia.parts.infwidth import Dense, Flatten, Sequential
        >>> mean_of_neighbours = torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.5, 0.5]])
        >>> net = Sequential(LinearMap(mean_of_neighbours), Flatten(), Dense())
        >>> net.kernel(torch.ones(1, 1, 3), get="nngp")
        tensor([[1.]])
    """

    def __init__(self, *matrices: Float[Tensor, "new old"]) -> None:
        if not matrices or any(matrix.ndim != 2 or not matrix.is_floating_point() for matrix in matrices):
            raise InputError("LinearMap needs floating-point matrices", matrices, "Pass one per spatial axis.")
        self.matrices = matrices

    def __repr__(self) -> str:
        return f"LinearMap({', '.join('x'.join(map(str, matrix.shape)) for matrix in self.matrices)})"

    @property
    def mixes(self) -> bool:
        """Whether it does more than pick positions."""
        return any(bool(((matrix != 0).sum(1) > 1).any()) for matrix in self.matrices)

    def propagate(self, state: KernelState) -> KernelState:
        axes = state.position_axes()
        sizes = [matrix.shape[1] for matrix in self.matrices]
        if sizes != list(state.shape):
            raise InputError(f"{self!r} does not fit the positions", state.shape, "Give a matrix for each axis.")
        full = state.spatial == "full"

        def apply(covariance: Tensor) -> Tensor:
            for matrix, pair in zip(self.matrices, axes):
                weights = (matrix if full else matrix.square()).to(covariance)
                for axis in pair:  # a row of a "diag" covariance picks one position, whose factor enters squared
                    covariance = (covariance.movedim(axis, -1) @ weights.T).movedim(-1, axis)
            return covariance

        return state.mapped(apply)
