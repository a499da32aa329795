"""Scale mixtures of infinitely wide networks (arXiv:2107.01408)."""
