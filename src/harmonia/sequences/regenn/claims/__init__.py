"""The claims by idea."""
