"""Claims of kernel balancing, by idea."""
