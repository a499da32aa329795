import pickle

import pytest

from harmonia.core.errors import InputError, MissingDependency, WeightsError, require


def test_says_what_got_and_mend():
    error = InputError("the table has no rows", 0, "Add rows.")
    assert str(error) == "the table has no rows (got 0). Add rows."
    assert (error.what, error.got, error.mend) == ("the table has no rows", "0", "Add rows.")


@pytest.mark.parametrize("kind", [InputError, MissingDependency, WeightsError])
def test_survives_another_process(kind):
    error = pickle.loads(pickle.dumps(kind("a", "b", "c")))
    assert type(error) is kind
    assert (error.what, error.got, error.mend) == ("a", "b", "c")


def test_is_a_value_error_for_other_libraries():
    with pytest.raises(ValueError, match="a"):
        raise InputError("a", "b", "c")


def test_require_names_the_extra():
    with pytest.raises(MissingDependency, match=r"pip install 'harmonia\[audio\]'"):
        require("no_such_package_at_all", extra="audio")
