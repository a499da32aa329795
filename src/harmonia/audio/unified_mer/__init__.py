"""Music2Emo: mood tags, valence and arousal of music by one network (arXiv 2502.03979)."""
