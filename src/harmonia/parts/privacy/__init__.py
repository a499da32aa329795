"""Differential privacy: exact noise on a grid, what releases cost together, and noise calibrated to sensitivities."""

from harmonia.parts.privacy.accounting import Charge, PrivacyAccountant, Spent, compose
from harmonia.parts.privacy.mechanism import Blocks, Budget, Mechanism
from harmonia.parts.privacy.noise import Randomness

__all__ = ["Blocks", "Budget", "Charge", "Mechanism", "PrivacyAccountant", "Randomness", "Spent", "compose"]
