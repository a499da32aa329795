"""Harmonia: published research methods that run.

Import methods from their field (``from harmonia.audio import MelBandRoformer``) or use the command line
(``harmonia list``, ``harmonia run mel-roformer song.mp3``).
"""

__version__ = "0.1.0"
