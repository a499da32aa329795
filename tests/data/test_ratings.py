"""Layouts of published rating data, on small files written here."""

from __future__ import annotations

import numpy as np
import pytest

from harmonia.core.errors import InputError
from harmonia.data import load_coat, load_kuairec, load_yahoo_r3


def test_coat(tmp_path):
    np.savetxt(tmp_path / "train.ascii", [[5, 0, 1], [0, 2, 0]], fmt="%d")
    np.savetxt(tmp_path / "test.ascii", [[0, 3, 0], [1, 0, 0]], fmt="%d")
    study = load_coat(tmp_path)
    assert study.shape == (2, 3)
    assert study.user_features is None
    np.testing.assert_array_equal(study.chosen.pairs, [[0, 0], [0, 2], [1, 1]])
    np.testing.assert_array_equal(study.chosen.positive(3), [1, 0, 0])
    np.testing.assert_array_equal(study.at_random.values, [3, 1])
    (tmp_path / "user_item_features").mkdir()
    np.savetxt(tmp_path / "user_item_features" / "user_features.ascii", np.eye(2), fmt="%d")
    assert load_coat(tmp_path).user_features.shape == (2, 2)
    np.savetxt(tmp_path / "user_item_features" / "item_features.ascii", np.eye(2), fmt="%d")
    with pytest.raises(InputError, match="features"):
        load_coat(tmp_path)


def test_yahoo(tmp_path):
    for part, text in (("train", "1\t14\t5\n2\t3\t1\n"), ("test", "2\t9\t4\n")):
        (tmp_path / f"ydata-ymusic-rating-study-v1_0-{part}.txt").write_text(text)
    study = load_yahoo_r3(tmp_path)
    assert study.shape == (2, 14)
    np.testing.assert_array_equal(study.chosen.pairs, [[0, 13], [1, 2]])
    np.testing.assert_array_equal(study.at_random.values, [4])


@pytest.mark.parametrize("layout", ["txt", "csv"])
def test_kuairec(tmp_path, layout):
    if layout == "txt":
        (tmp_path / "user.txt").write_text("14,100,1.5\n20,7,0.25\n")
        (tmp_path / "random.txt").write_text("14,7,2.5\n")
    else:
        head = "user_id,video_id,play_duration,watch_ratio\n"
        (tmp_path / "big_matrix.csv").write_text(head + "14,100,9,1.5\n20,7,9,0.25\n")
        (tmp_path / "small_matrix.csv").write_text(head + "14,7,9,2.5\n")
    study = load_kuairec(tmp_path)
    assert study.shape == (2, 2)
    np.testing.assert_array_equal(study.chosen.pairs, [[0, 1], [1, 0]])
    np.testing.assert_array_equal(study.at_random.positive(study.threshold), [1])


def test_refusals(tmp_path):
    for load in (load_coat, load_yahoo_r3, load_kuairec):
        with pytest.raises(InputError, match="there is no"):
            load(tmp_path)
    (tmp_path / "train.ascii").write_text("1 2\n3 x\n")
    (tmp_path / "test.ascii").write_text("1 2\n3 4\n")
    with pytest.raises(InputError, match="no matrix"):
        load_coat(tmp_path)
    (tmp_path / "user.txt").write_text("1,2\n3,4\n")
    (tmp_path / "random.txt").write_text("1,2,3\n")
    with pytest.raises(InputError, match="no ratings"):
        load_kuairec(tmp_path)
    (tmp_path / "user.txt").write_text("a,b,c\n")
    with pytest.raises(InputError, match="no ratings"):
        load_kuairec(tmp_path)
