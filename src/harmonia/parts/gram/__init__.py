"""Kernel matrices: blocked, lazy, and their eigendecomposition."""
