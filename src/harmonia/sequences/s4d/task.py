"""Jobs of S4D."""

JOBS = ()
