"""Captioning beside a BART captioner as LP-MusicCaps is one; beam search beside transformers; features beside librosa.

The captioner that users would script is a log-mel encoder of strided convolutions and BART-base, with random weights
here. Its sentences mean nothing; what is compared is the time that 100 clips take.
"""

import numpy as np

from harmonia.app.bench import Race

RATE = 16000
BEAM, WORDS = 4, 32


def clips(count, seconds):
    return (np.random.default_rng(0).standard_normal((count, seconds * RATE)) / 10).astype(np.float32)


def small_profile(count, seconds):
    import torch

    from harmonia.audio.s2cap import SingingStyleCaptioner
    from harmonia.audio.s2cap.decoding import beam_search

    captioner = SingingStyleCaptioner.from_pretrained(device="cpu")
    network, sound = captioner.network_, torch.from_numpy(clips(count, seconds))

    def step():
        with torch.inference_mode():
            for part in sound.split(20):
                memory = network.memory(network.encoder.features(part))
                beam_search(network.decoder, memory, beam=BEAM, max_length=WORDS)

    return step


def lp_music_caps(count, seconds):
    import torch
    from transformers import BartConfig, BartForConditionalGeneration
    from transformers.modeling_outputs import BaseModelOutput

    from harmonia.parts.spectral import STFT, MelSpectrogram, mel_filterbank

    torch.manual_seed(0)
    bart = BartForConditionalGeneration(BartConfig(d_model=768, encoder_layers=6, decoder_layers=6)).eval()
    mel = MelSpectrogram(STFT(1024, 160, pad_mode="constant"), mel_filterbank(RATE, 1024, 128).float(), log_floor=1e-6)
    convolutions = torch.nn.Sequential(
        torch.nn.Conv1d(128, 768, 3, padding=1), torch.nn.GELU(), torch.nn.Conv1d(768, 768, 3, 2, 1), torch.nn.GELU()
    )
    sound = torch.from_numpy(clips(count, seconds))

    def step():
        with torch.inference_mode():
            for part in sound.split(20):
                heard = convolutions(mel(part)).transpose(1, 2)
                hidden = bart.get_encoder()(inputs_embeds=heard[:, :1000]).last_hidden_state
                bart.generate(
                    encoder_outputs=BaseModelOutput(hidden), num_beams=BEAM, max_new_tokens=WORDS, do_sample=False
                )

    return step


def _bart():
    import torch
    from transformers import BartConfig, BartForConditionalGeneration

    torch.manual_seed(0)
    config = BartConfig(
        d_model=256,
        vocab_size=2000,
        encoder_layers=1,
        decoder_layers=4,
        decoder_attention_heads=4,
        decoder_ffn_dim=1024,
        init_std=0.2,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
        forced_eos_token_id=None,
    )
    return BartForConditionalGeneration(config).eval(), torch.randn(20, 60, 256)


def our_search():
    from harmonia.audio.s2cap import BartDecoder
    from harmonia.audio.s2cap.decoding import beam_search

    bart, memory = _bart()
    decoder = BartDecoder(bart, max_length=WORDS)
    return lambda: _padded(beam_search(decoder, memory, beam=1, no_repeat=3))


def their_search():
    from transformers.modeling_outputs import BaseModelOutput

    bart, memory = _bart()
    settings = {"num_beams": 1, "max_new_tokens": WORDS, "no_repeat_ngram_size": 3, "suppress_tokens": [0]}

    def step():
        rows = bart.generate(encoder_outputs=BaseModelOutput(memory), do_sample=False, **settings)[:, 1:].tolist()
        return _padded([row[: row.index(2)] if 2 in row else [token for token in row if token] for row in rows])

    return step


def _padded(rows):
    table = np.zeros((len(rows), WORDS))
    for row, tokens in zip(table, rows):
        row[: len(tokens)] = tokens
    return table


def song():
    from harmonia.data import demo_truth

    truth = demo_truth()
    voice, mix = (
        s.mono().resampled(RATE).samples[0].astype(np.float64) for s in (truth.stems["vocals"], truth.mixture)
    )
    return np.tile(voice, 3), np.tile(mix, 3)


def our_features():
    from harmonia.audio.s2cap.measures import hear, tempo_of

    voice, mix = song()

    def step():
        measured = hear(voice)
        tempo_of(mix)
        return np.array([measured.f0])

    return step


def their_features():
    import librosa

    voice, mix = song()

    def step():
        f0, voiced, _ = librosa.pyin(voice, fmin=65, fmax=1100, sr=RATE, frame_length=1024, hop_length=160)
        librosa.feature.rms(y=voice, frame_length=320, hop_length=160)
        librosa.beat.beat_track(y=mix, sr=RATE, hop_length=160)
        return np.array([np.median(f0[voiced])])

    return step


RACES = (
    Race(
        "transformers",
        "100 clips of 10 s captioned, beam 4, 32 words: the small profile beside log-mel and BART-base",
        small_profile,
        lp_music_caps,
        {"count": 100, "seconds": 10},
        repeats=1,
        note="another network, so sentences are not compared; both untimed set-ups make random sound",
    ),
    Race(
        "transformers",
        "20 captions of 32 words by greedy search over the same BART decoder",
        our_search,
        their_search,
        tolerance=0.0,
    ),
    Race(
        "librosa",
        "F0, level and tempo of 60 s of singing over a band",
        our_features,
        their_features,
        tolerance=0.02,
        note="pyin, rms and beat_track; median F0 compared",
        repeats=2,
    ),
)
