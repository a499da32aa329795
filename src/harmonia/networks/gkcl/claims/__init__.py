"""What the papers say, measured: identities of the parts, and streams of tasks learnt in full."""
