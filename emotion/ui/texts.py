"""Words of the page that are longer than a label."""

from emotion.labels import FER2013
from emotion.quality import LIMITS
from emotion.weights import ModelSpec

TITLE = "Emotion Lens"

INTRO = """# Emotion Lens
Which emotion does a face *show*, and **which parts of the face drove that answer**?
The heatmap is not a guess after the fact: its parts sum exactly to the model's answer."""

EMPTY = "Drop a photo, paste one, or take one with the camera. Nothing is kept, nothing is sent on."

NO_FACE = (
    "No face was found in this picture. A face should be at least 40 pixels wide and look "
    "roughly towards the camera."
)

BROKEN = "Something went wrong on our side; the details are in the server's log. Please try again."

BUSY = "Many people are using this page just now. Please drop the picture again in a moment."

TESTING = "Hiding what the map marks, and as much elsewhere on the face, to see what becomes of it."

LEGEND = (
    "Warm colours speak for the emotion, cold ones against it; the stronger, the darker. The scale "
    "is the same for every picture: no colour means no evidence."
)

WEBCAM = """Press the camera's record button. Each frame is analysed as it comes and then dropped:
it is not stored, and it goes nowhere but to the machine that runs this page."""

ABOUT = """## What it is
Emotion Lens finds the faces in a picture, names the emotion each one **shows** ({count} of them:
{labels}), and shows where on the face that answer comes from.

**The explanation is exact.** The model averages a {grid} grid of features and applies one linear
layer, so each logit *is* a sum over the cells of that grid, plus a constant. The heatmap shows
these summands, the region bars add them up by parts of the face, and bars + bias = logit, up to
rounding. It costs no second pass. (CAM; Zhou et al. 2016. Grad-CAM gives the same map here.)

## What it is not
* **A shown expression is not a felt emotion.** People smile when they are nervous and frown when
  they think. How faces move varies with person, situation and culture; a review of a thousand
  studies found that feelings cannot be read off faces alone (Barrett et al., *Psychological
  Science in the Public Interest*, 2019). Do not use it to judge people.
* **A heatmap is not a proof about the face.** It shows what *this model* used, on a coarse grid:
  it tells a mouth from a brow, not one muscle from its neighbour. Under each map stands what
  became of the answer when the marked part was hidden; the Explore tab lets you hide any part, and
  the Scoreboard tab tells how far the maps held on hundreds of faces.
* **It is often unsure.** {doubt} {weak} {hard}

## The model: `{name}`
{architecture}, input {size} px, {file_note}. Trained by this project on FER+ (28,000 small grey
web photographs, each labelled by ten people), starting from dlib's CC0 face network.
No demographic labels exist for these pictures, so how it differs between groups of people is not
known.

| {data} test split | |
|---|---|
{figures}

| emotion | faces in the test split | found (recall) |
|---|---|---|
{recalls}

## Privacy
Pictures are analysed on the machine that runs this page, in memory; an uploaded file is deleted
from its temporary folder within minutes. Live frames are never written anywhere: the camera goes
off when you press Stop, choose another tab or hide the page, and what was remembered of the face
with it. Nothing is stored, nothing is sent to anybody else, no statistics are gathered, and the
page loads nothing from other servers. (At its first start the program may fetch one file, the face
detector YuNet; `EMOTION_OFFLINE=1` forbids that.)
"""

FIGURES = (
    ("n", "faces", "{:.0f}"),
    ("accuracy", "accuracy", "{:.1%}"),
    ("macro_recall", "mean recall of the classes", "{:.1%}"),
    ("ece", "expected calibration error", "{:.1%}"),
)


def about(spec: ModelSpec) -> str:
    """Return the text of the About tab, with the loaded model's own figures."""
    metrics = spec.metrics
    test = test_split(spec)
    figures = [
        f"| {text} | {style.format(metrics[f'{test}_{key}'])} |"
        for key, text, style in FIGURES
        if f"{test}_{key}" in metrics
    ]
    recalls = [
        f"| {label} | {metrics[f'{test}_n_{label}']:.0f} "
        f"| {metrics[f'{test}_recall_{label}']:.0%} |"
        for label in spec.labels
        if f"{test}_recall_{label}" in metrics
    ]
    cells = round((spec.input_size - spec.grid_origin) / spec.grid_step)
    return ABOUT.format(
        count="eight" if len(spec.labels) == 8 else len(spec.labels),
        labels=", ".join(spec.labels),
        data="FER2013" if test == "fer2013_test" else "FER+",
        grid=f"{cells}x{cells}",
        doubt=doubt(spec),
        weak=weakness(spec),
        hard=hard_faces(spec),
        name=spec.name,
        architecture=spec.architecture,
        size=spec.input_size,
        file_note=f"sha256 `{spec.sha256[:12]}`",
        figures="\n".join(figures) or "| not measured | |",
        recalls="\n".join(recalls) or "| | | |",
    )


def test_split(spec: ModelSpec) -> str:
    """Return what the figures of a model's own test split begin with in its spec."""
    return "fer2013_test" if spec.labels == FER2013 else "ferplus_test"


def doubt(spec: ModelSpec) -> str:
    """Say what it means that an answer may name several emotions, or none."""
    if spec.set_threshold == 1:
        return "Look at the probabilities, not only at the top answer."
    return (
        "The answer names every emotion with a probability of at least "
        f'{spec.set_threshold:.2f}. Where three reach that, or none, it is "not sure", and the '
        "likeliest are listed. On 90 of 100 faces of the validation split the right one was among "
        "them; on pictures of another kind it may be fewer."
    )


def weakness(spec: ModelSpec) -> str:
    """Name the emotions that the model mostly misses, by its own figures."""
    missed = [
        label
        for label in spec.labels
        if spec.metrics.get(f"{test_split(spec)}_recall_{label}", 1.0) < 0.5
    ]
    if not missed:
        return ""
    words = missed[0] if len(missed) == 1 else f"{', '.join(missed[:-1])} and {missed[-1]}"
    return f"It misses most faces that show {words}: they are rare in the training data."


def hard_faces(spec: ModelSpec) -> str:
    """Tell how often the model is right on faces that are hard to read, by its own figures."""
    told = [f"{x.name} {spec.quality[x.kind]:.0%}" for x in LIMITS if x.kind in spec.quality]
    if not told or "all" not in spec.quality:
        return ""
    return f"Of ordinary faces it reads {spec.quality['all']:.0%} right; of {', of '.join(told)}."
