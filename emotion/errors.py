"""Every error that the package raises for a reason the user can act on.

    EmotionError
    ├── ImageError           a picture that cannot be read, is empty or too large
    ├── WeightsError         a weight file or its spec that is missing, changed or does not fit
    ├── ReportError          a report of an explanation that cannot be read or checked
    ├── DetectorError        a face detector that cannot be used here
    └── UnknownModelError    a name that is not on offer; the message lists the ones that are

The message is one line that says what to do. A caller's misuse (a wrong type, an option
that does not exist) raises ``TypeError`` or ``ValueError`` instead.
"""


class EmotionError(Exception):
    """Base of all errors that the package raises on purpose."""


class ImageError(EmotionError):
    """A picture that cannot be read, is empty, or is over the limits."""


class WeightsError(EmotionError):
    """Weights or a spec that are missing, damaged, or do not belong together."""


class ReportError(EmotionError):
    """A report of an explanation that cannot be read, or that is about another picture."""


class DetectorError(EmotionError):
    """A face detector whose library or model file cannot be used here."""


class UnknownModelError(EmotionError):
    """A model name that is not on offer."""
