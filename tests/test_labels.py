"""One word per emotion, whatever a data set calls it."""

import pytest

from emotion.labels import ALIASES, FER2013, FERPLUS, canonical


def test_the_two_sets_differ_by_contempt() -> None:
    assert len(FERPLUS) == len(set(FERPLUS)) == 8
    assert len(FER2013) == len(set(FER2013)) == 7
    assert set(FERPLUS) - set(FER2013) == {"contempt"}
    assert set(FER2013) <= set(FERPLUS)


def test_orders_are_those_of_the_data_sets() -> None:
    # Another order would name every emotion wrongly without any error.
    assert FERPLUS[:4] == ("neutral", "happiness", "surprise", "sadness")
    assert FERPLUS[4:] == ("anger", "disgust", "fear", "contempt")
    assert FER2013[:3] == ("anger", "disgust", "fear")
    assert FER2013[3:] == ("happiness", "sadness", "surprise", "neutral")


@pytest.mark.parametrize("name", FERPLUS)
def test_own_names_stay(name: str) -> None:
    assert canonical(name) == name
    assert canonical(f"  {name.upper()} ") == name


@pytest.mark.parametrize(
    ("name", "word"),
    [("Happy", "happiness"), ("3_Happy", "happiness"), ("06-angry", "anger"), ("SAD", "sadness")],
)
def test_other_names(name: str, word: str) -> None:
    assert canonical(name) == word


def test_aliases_lead_to_known_words() -> None:
    assert set(ALIASES.values()) <= set(FERPLUS)


@pytest.mark.parametrize("name", ["", "happines", "3", "unknown", "NF"])
def test_unknown_name_lists_the_choices(name: str) -> None:
    with pytest.raises(ValueError, match="expected one of neutral, happiness"):
        canonical(name)
