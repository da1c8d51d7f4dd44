"""The label sets, and how one maps onto the other.

Source: FER+ (Barsoum et al., ICMI 2016, arXiv:1608.01041) for the eight names and their
order; FER2013 (Goodfellow et al., ICML 2013 workshop) for the seven and the numbers in
its CSV file.
"""

FERPLUS = (
    "neutral",
    "happiness",
    "surprise",
    "sadness",
    "anger",
    "disgust",
    "fear",
    "contempt",
)
"""The eight emotions of FER+, in the order of its vote columns."""

FER2013 = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
"""The seven emotions of FER2013, in the order of the numbers 0 to 6 in ``fer2013.csv``."""

ALIASES = {
    "angry": "anger",
    "disgusted": "disgust",
    "fearful": "fear",
    "afraid": "fear",
    "happy": "happiness",
    "joy": "happiness",
    "sad": "sadness",
    "surprised": "surprise",
    "contemptuous": "contempt",
}
"""Words that data sets use for the same emotions, mapped to the names used here."""


def canonical(name: str) -> str:
    """Return this project's word for an emotion that a data set calls ``name``.

    Args:
        name: any case, with or without a leading sort number such as ``3_Happy``.

    Returns:
        One of :data:`FERPLUS`.

    Raises:
        ValueError: no emotion goes by that name.
    """
    word = name.strip().lower().lstrip("0123456789_-. ")
    word = ALIASES.get(word, word)
    if word not in FERPLUS:
        raise ValueError(f"no emotion is called {name!r}; expected one of {', '.join(FERPLUS)}")
    return word
