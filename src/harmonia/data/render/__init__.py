"""Songs with exact ground truth: speaking voices sing composed melodies over a synthesised band.

Everything here is rendered, not recorded, and says so in its `provenance`. It proves alignment, pitch and separation
on material whose truth is known; it is no evidence of how natural anything sounds.

    sing(lyrics, notes, voice)     one sung line, with F0, syllables and phonemes
    render_song(seed, split)       a song: stems that add up to the mixture bit for bit, notes, chords, beats
    corpus(split, count)           many songs, cached;   write_corpus(folder, split, count) the same as folders of FLAC
    write_talk(folder, split)      sentences of single speakers, to be mixed for training speech separators
    render_mood(mood, seed)        a piece without a voice whose mode, tempo, register, loudness ... are set
    render_style(style, seed)      a short sung clip whose nine style attributes are set, voice and backing apart
    voices(split)                  who sings, under which licence; test voices never sing in training songs
"""

from __future__ import annotations

from harmonia.core.lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "Manner": "singing",
        "Mood": "mood",
        "Excerpt": "excerpts",
        "render_excerpt": "excerpts",
        "render_mood": "mood",
        "render_snippets": "excerpts",
        "render_song": "compose",
        "render_style": "style",
        "Sung": "singing",
        "Voice": "speakers",
        "corpus": "bulk",
        "person": "talk",
        "prompts": "speakers",
        "sentences": "talk",
        "SingingStyle": "style",
        "sing": "singing",
        "spoken": "talk",
        "talkers": "talk",
        "voices": "speakers",
        "write_corpus": "bulk",
        "write_excerpts": "excerpts",
        "write_talk": "talk",
    },
)
