"""What the paper says, measured."""
