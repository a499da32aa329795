"""What must hold exactly, and a first look at the embedded weights."""

from __future__ import annotations

import numpy as np
import torch

from harmonia.audio.unified_mer.btc import chord_of_class
from harmonia.audio.unified_mer.encoding import encode_harmony
from harmonia.audio.unified_mer.features import FeatureTable
from harmonia.audio.unified_mer.losses import distillation_loss, tag_loss, tag_weights
from harmonia.audio.unified_mer.model import MusicEmotionModel
from harmonia.audio.unified_mer.network import EmotionConfig, EmotionNetwork
from harmonia.audio.unified_mer.scores import rating_scores
from harmonia.audio.unified_mer.world import emotion_of, piece
from harmonia.core.claim import Measured, claim
from harmonia.core.errors import MissingDependency
from harmonia.parts.harmony import Chord, find_key, histogram_of_chords, parse_chord

RENDERED = "rendered music, not recordings"
UNHEARD = range(100_000, 100_016)
"""Pieces of the world that no weights of ours were trained or chosen on."""


@claim(
    "The release's distillation sees only the difference of valence and arousal",
    place="a softmax over two numbers",
    unit="max abs",
    better="zero",
    tier="quick",
    tolerance=1e-6,
)
def shift_invariance(seed: int) -> Measured:
    """A student that is wrong by the same number in both has the same loss; squared error finds it out."""
    teacher, student = _normal((2, 64, 2), seed).double()
    losses = [
        abs(float(distillation_loss(student + c, teacher, "va", "official") - _official(student, teacher)))
        for c in (-3.0, 0.5, 4.0)
    ]
    noticed = float(distillation_loss(teacher + 4.0, teacher, "va", "mse_bce"))
    return Measured(max(losses), note=f"squared error of a student 4 points off in both: {noticed:g}")


@claim(
    "The weights of tags are 1 / p and 2 / (1 + 1 / p)",
    place="loss of the mood head",
    unit="relative",
    better="zero",
    tier="quick",
    tolerance=1e-6,
)
def weights(seed: int) -> Measured:
    """Against the loss written out term by term."""
    labels = (torch.rand(50, 8, generator=torch.Generator().manual_seed(seed)) < 0.3).double()
    labels[0] = 1.0
    logits = _normal((50, 8), seed).double()
    p = labels.mean(0)
    s = torch.sigmoid(logits)
    terms = 2 / (1 + 1 / p) * -(labels / p * s.log() + (1 - labels) * (1 - s).log())
    found = tag_loss(logits, labels, tag_weights(labels))
    return Measured(float((found - terms.mean()).abs() / terms.mean()))


@claim(
    "The network has the layout of the released checkpoints",
    place="state dict of J_all.ckpt",
    unit="differences",
    better="zero",
    tier="quick",
)
def layout(seed: int) -> Measured:
    """Names and shapes written down from the checkpoint, and its 1,072,058 parameters."""
    with torch.device("meta"):
        own = {name: tuple(tensor.shape) for name, tensor in EmotionNetwork(EmotionConfig()).state_dict().items()}
    published = public_layout()
    parameters = sum(int(np.prod(shape)) for shape in own.values())
    differences = len(set(own.items()) ^ set(published.items())) + (parameters != 1_072_058)
    return Measured(float(differences), note=f"{len(own)} tensors, {parameters:,} parameters")


def public_layout() -> dict[str, tuple[int, ...]]:
    """Names and shapes of the student in a released checkpoint, written down independently of the network."""
    shapes: dict[str, tuple[int, ...]] = {
        "chord_root_embedding.weight": (14, 4),
        "chord_attr_embedding.weight": (14, 4),
        "input_proj.0.weight": (512, 1545),
        "input_proj.0.bias": (512,),
    }
    for branch, outputs in (("classification_branch", 56), ("regression_branch", 2)):
        shapes |= {f"{branch}.0.weight": (256, 512), f"{branch}.0.bias": (256,)}
        shapes |= {f"{branch}.2.weight": (outputs, 256), f"{branch}.2.bias": (outputs,)}
    for number in range(2):
        layer = f"chord_transformer.layers.{number}."
        shapes |= {f"{layer}self_attn.in_proj_weight": (24, 8), f"{layer}self_attn.in_proj_bias": (24,)}
        shapes |= {f"{layer}self_attn.out_proj.weight": (8, 8), f"{layer}self_attn.out_proj.bias": (8,)}
        shapes |= {f"{layer}linear1.weight": (64, 8), f"{layer}linear1.bias": (64,)}
        shapes |= {f"{layer}linear2.weight": (8, 64), f"{layer}linear2.bias": (8,)}
        for norm in ("norm1", "norm2"):
            shapes |= {f"{layer}{norm}.weight": (8,), f"{layer}{norm}.bias": (8,)}
    return shapes


@claim(
    "Every chord the recogniser knows has the release's numbers",
    place="chord_root.json and chord_attr.json of the release",
    unit="differences",
    better="zero",
    tier="quick",
)
def tables(seed: int) -> Measured:
    """All 170 classes of BTC in C major, against the tables written down; minor-major sevenths count as minor."""
    numbers = {"min": 5, "maj": 1, "dim": 2, "aug": 7, "min6": 12, "maj6": 9, "min7": 4, "minmaj7": 5}
    numbers |= {"maj7": 13, "7": 11, "dim7": 8, "hdim7": 10, "sus2": 6, "sus4": 3}
    key = find_key(histogram_of_chords([parse_chord("C:maj", 0.0, 2.0), parse_chord("G:7", 2.0, 3.0)]))
    wrong = 0
    for number in range(170):
        root, quality = chord_of_class(number)
        encoded = encode_harmony([Chord(0.0, 1.0, root, quality)], key)
        expected = (0, 0) if number >= 168 else (number // 14 + 1, numbers[list(numbers)[number % 14]])
        wrong += (int(encoded.roots[0]), int(encoded.qualities[0])) != expected
    return Measured(float(wrong), note="170 classes")


@claim(
    "A transposed piece is the same piece",
    place="normalisation of chords to C major and A minor",
    unit="differences",
    better="zero",
    tier="quick",
)
def transposition(seed: int) -> Measured:
    """Chords and key moved by 0 to 11 semitones give the network the same numbers, for major and minor pieces."""
    different = 0
    for labels in (("C:maj", "A:min", "F:maj7", "G:7", "C:maj"), ("A:min", "D:min7", "E:7", "A:min", "B:hdim7")):
        chords = [parse_chord(label, float(t), t + 1.0) for t, label in enumerate(labels)]
        first = encode_harmony(chords)
        for shift in range(12):
            moved = encode_harmony([chord.transposed(shift) for chord in chords])
            different += any(np.any(a != b) for a, b in zip(first, moved, strict=True))
    return Measured(float(different), note="24 pieces")


@claim(
    "Filling up and silence are the same",
    place="padding with 0, which is N",
    unit="max abs",
    better="zero",
    tier="quick",
    tolerance=0.0,
)
def padding(seed: int) -> Measured:
    """Chords followed by nothing, and by ninety times no chord, give the same tags and emotions."""
    network = _random_network(seed)
    chords = [parse_chord("C:maj", 0.0, 1.0), parse_chord("G:maj", 1.0, 2.0)]
    silent = [parse_chord("N", float(t), t + 1.0) for t in range(2, 92)]
    music = _normal((1, 16), seed).numpy()
    tables = [FeatureTable.of([(music, encode_harmony(piece))]) for piece in (chords, chords + silent)]
    with torch.no_grad():
        one, other = (network(*table.inputs()) for table in tables)
    return Measured(max(float((a - b).abs().max()) for a, b in zip(one, other, strict=True)))


@claim(
    "Computing one state of the last layer gives what computing all gives",
    place="first state of the chord transformer",
    unit="max abs",
    better="zero",
    tier="quick",
    tolerance=1e-6,
)
def chord_states(seed: int) -> Measured:
    """Against torch's own encoder over all states."""
    network = _random_network(seed)
    generator = torch.Generator().manual_seed(seed)
    roots, qualities = (torch.randint(0, 13, (16, 100), generator=generator) for _ in range(2))
    position = torch.arange(100.0)[:, None]
    waves = torch.cat([torch.sin(position / 10 ** torch.arange(4.0)), torch.cos(position / 10 ** torch.arange(4.0))], 1)
    with torch.no_grad():
        chords = torch.cat([network.chord_root_embedding(roots), network.chord_attr_embedding(qualities)], -1)
        chords = chords + waves[:, [0, 4, 1, 5, 2, 6, 3, 7]]
        states = network.chord_transformer(torch.cat([torch.zeros(16, 1, 8), chords], 1))
        return Measured(float((network.hear(roots, qualities) - states[:, 0]).abs().max()))


@claim(
    "The embedded weights hear arousal in pieces they never heard",
    place="abstract: emotion from music",
    unit="R2",
    better="higher",
    tier="quick",
    tolerance=0.3,
)
def unheard_pieces(seed: int) -> Measured | None:
    """Sixteen rendered pieces; the baseline, to be beaten by 0.3, is their mean."""
    try:
        heard = [piece(number) for number in UNHEARD]
    except MissingDependency:
        return None
    columns = {name: np.stack([each[name] for each in heard]) for name in heard[0]}
    borders = np.arange(len(heard) + 1)
    table = FeatureTable(columns["music"], borders, columns["roots"], columns["qualities"], columns["minor"])
    found = MusicEmotionModel(chords="templates", device="cpu").predict(table)
    truth = np.stack([emotion_of(number) for number in UNHEARD]).astype(np.float32)
    scores = rating_scores(truth, np.column_stack([found.valence, found.arousal]))
    return Measured(scores["r2_arousal"], 0.0, f"valence {scores['r2_valence']:.2f}; 16 pieces; {RENDERED}")


def _random_network(seed: int) -> EmotionNetwork:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return EmotionNetwork(EmotionConfig(music_width=16, width=32, hidden=16)).eval()


def _official(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """The distance written out: the Kullback-Leibler divergence of two softmaxes, mean over the batch."""
    p, q = teacher.softmax(-1), student.softmax(-1)
    return (p * (p / q).log()).sum(-1).mean()


def _normal(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))
