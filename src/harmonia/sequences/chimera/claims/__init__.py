"""The claims, by idea."""
