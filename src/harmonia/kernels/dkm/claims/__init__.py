"""The papers' statements, measured."""
