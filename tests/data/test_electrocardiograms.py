"""PTB-XL's layout, made here by hand, and WFDB records with every fault that their header can tell."""

from __future__ import annotations

import numpy as np
import pytest

from harmonia.core.errors import InputError
from harmonia.data import ptb_xl
from harmonia.data.electrocardiograms import wfdb_record

STATEMENTS = """,description,diagnostic,form,rhythm,diagnostic_class,diagnostic_subclass
NORM,normal ECG,1.0,,,NORM,NORM
IMI,inferior infarction,1.0,,,MI,IMI
AMI,"infarction, anterior",1.0,,,MI,AMI
ILMI,inferolateral infarction,1.0,,,MI,IMI
ABQRS,abnormal QRS,,1.0,,,
SR,sinus rhythm,,,1.0,,
AFIB,fibrillation,,,1.0,,
PACE,never stated,,,1.0,,
"""
CODES = [
    {"NORM": 100.0, "SR": 0.0},
    {"IMI": 35.0, "ABQRS": 0.0, "AFIB": 0.0},
    {"AMI": 0.0, "ILMI": 50.0},
    {"NORM": 80.0, "AMI": 15.0},
    {"SR": 0.0},
]
FOLDS = [1, 8, 9, 10, 10]


def record(path, samples, gain=1000.0, baseline=0, **changed):
    """A record, whose header may lie."""
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.asarray(samples, "<i2")
    length, count = samples.shape
    sums = [int(np.int64(each.sum()).astype(np.int16)) for each in samples.T.astype(np.int64)]
    given = {"format": "16", "length": length, "count": count, "first": samples[0].tolist(), "sums": sums} | changed
    scale = f"{gain}({baseline})/mV" if baseline is not None else f"{gain}/mV"
    lines = [f"{path.name} {given['count']} 100 {given['length']}"]
    lines += [
        f"{path.name}.dat {given['format']} {scale} 16 3 {given['first'][i]} {given['sums'][i]} 0 lead {i}"
        for i in range(count)
    ]
    path.with_suffix(".hea").write_text("\n".join(lines) + "\n# a remark\n")
    samples.tofile(path.with_suffix(".dat"))


def ptb(root, codes=CODES, folds=FOLDS, length=20):
    random = np.random.default_rng(0)
    rows = ["ecg_id,patient_id,report,scp_codes,strat_fold,filename_lr"]
    for i, (code, fold) in enumerate(zip(codes, folds)):
        name = f"records100/00000/{i + 1:05d}_lr"
        record(root / name, random.integers(-3000, 3000, (length, 12)))
        rows.append(f'{i + 1},{9.0 - i},"sinus, normal","{code}",{fold},{name}')
    (root / "ptbxl_database.csv").write_text("\n".join(rows) + "\n")
    (root / "scp_statements.csv").write_text(STATEMENTS)
    return root


def test_records_are_in_physical_units(tmp_path):
    samples = np.random.default_rng(1).integers(-32767, 32768, (50, 3))
    record(tmp_path / "a", samples, gain=200.0, baseline=-40)
    values, rate, names = wfdb_record(tmp_path / "a.hea")
    np.testing.assert_array_equal(values, (samples + 40) / 200)
    assert (rate, names) == (100.0, ("lead 0", "lead 1", "lead 2"))
    record(tmp_path / "b", samples, baseline=None)  # then the converter's zero, which is 3
    np.testing.assert_array_equal(wfdb_record(tmp_path / "b")[0], (samples - 3) / 1000)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"format": "212"}, "format 16"),
        ({"count": 3}, "format 16"),
        ({"length": 9}, "holds 36 bytes"),
        ({"first": [1, 3]}, "checksums"),
        ({"sums": [0, 1]}, "checksums"),
        ({"gain": 0}, "no header"),
        ({"gain": "x"}, "no header"),
    ],
    ids=str,
)
def test_bad_records_are_refused(changed, message, tmp_path):
    record(tmp_path / "a", np.arange(20).reshape(10, 2) + 2, **changed)
    with pytest.raises(InputError, match=message):
        wfdb_record(tmp_path / "a")


def test_what_is_not_there_is_said(tmp_path):
    with pytest.raises(InputError, match="no header"):
        wfdb_record(tmp_path / "none")
    (tmp_path / "empty.hea").write_text("# nothing\n")
    with pytest.raises(InputError, match="is no header"):
        wfdb_record(tmp_path / "empty")
    record(tmp_path / "gap", [[1, 2], [3, -32768]])
    with pytest.raises(InputError, match="not measured"):
        wfdb_record(tmp_path / "gap")
    (tmp_path / "gap.dat").unlink()
    with pytest.raises(InputError, match="no such file"):
        wfdb_record(tmp_path / "gap")


@pytest.mark.parametrize(
    ("kind", "names", "count"),
    [
        ("all", "ABQRS AFIB AMI ILMI IMI NORM SR", (2, 1, 2)),
        ("diag", "AMI ILMI IMI NORM", (2, 1, 1)),
        ("sub-diag", "AMI IMI NORM", (2, 1, 1)),
        ("super-diag", "MI NORM", (2, 1, 1)),
        ("rhythm", "AFIB SR", (2, 0, 1)),
    ],
)
def test_kinds_of_statements_and_folds(kind, names, count, tmp_path):
    root = ptb(tmp_path)
    for split, expected in zip(("train", "validation", "test"), count):
        if not expected:
            with pytest.raises(InputError, match="no record"):
                ptb_xl(root, kind, split)
            continue
        found = ptb_xl(root, kind, split)
        assert found.statements == tuple(names.split())
        assert found.values.shape == (expected, 20, 12)
        assert found.labels.any(1).all()


def test_labels_are_those_of_the_record(tmp_path):
    found = ptb_xl(ptb(tmp_path), "sub-diag", "validation")
    assert found.labels.tolist() == [[True, True, False]]  # AMI with likelihood 0, and ILMI, which is an IMI
    np.testing.assert_allclose(found.values[0], wfdb_record(tmp_path / "records100/00000/00003_lr")[0], rtol=1e-6)
    assert len(found.leads) == 12


def test_bad_folders_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"no scp_statements\.csv"):
        ptb_xl(tmp_path)
    root = ptb(tmp_path)
    for name, text, message in (
        ("ptbxl_database.csv", "ecg_id,fold\n1,2\n", "laid out otherwise"),
        ("ptbxl_database.csv", "ecg_id,scp_codes,strat_fold,filename_lr\n1,NORM,2,a\n", "no statements"),
        ("ptbxl_database.csv", "ecg_id,scp_codes,strat_fold,filename_lr\n1,{'NORM': 1},2,a\n", "no header"),
        ("scp_statements.csv", "", "laid out otherwise"),
    ):
        kept = (root / name).read_text()
        (root / name).write_text(text)
        with pytest.raises(InputError, match=message):
            ptb_xl(root)
        (root / name).write_text(kept)
    record(root / "records100/00000/00002_lr", np.zeros((7, 12), int))
    with pytest.raises(InputError, match="one length"):
        ptb_xl(root)
