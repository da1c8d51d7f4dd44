"""train.report and what it is made of: one page that holds all, and figures that are right."""

import copy
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from emotion.classify import classify
from emotion.images import load_image
from emotion.labels import FER2013, FERPLUS
from emotion.model import EmotionModel
from emotion.preprocess import Crop
from train.__main__ import main
from train.charts import reliability_chart, roc_chart
from train.datasets import VOTES, FaceDataset, one_hot
from train.evaluate import answer, evaluate
from train.metrics import interval, mcnemar
from train.page import p_value, percent, spread
from train.portraits import mean_evidence, portraits
from train.report import ReportOptions, compare, most_confident_mistakes, report

EXAMPLES = Path(__file__).resolve().parents[1] / "emotion" / "examples"
MOODS = ("happiness", "surprise", "anger", "sadness")
VOID = {"meta", "link", "img", "br", "image", "path", "rect", "use"}
NAME = '<img src="//x.example"> & "co".png'


def drawn_faces(count: int = 6) -> FaceDataset:
    """Drawn faces with noise: right labels, two wrong ones, and a last one without a label."""
    rng = np.random.default_rng(0)
    crops: list[Crop] = []
    for index in range(count):
        image = load_image(EXAMPLES / f"{MOODS[index % 4]}.jpg")
        small = cv2.resize(image[70:400, 75:405], (48, 48), interpolation=cv2.INTER_AREA)
        grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(int)
        crops.append(np.clip(grey + rng.integers(-6, 7, grey.shape), 0, 255).astype(np.uint8))
    shown = np.array([FERPLUS.index(MOODS[i % 4]) for i in range(count)])
    votes = np.zeros((count, len(VOTES)), np.int64)
    votes[np.arange(count), shown] = 8
    votes[:, VOTES.index("neutral")] += 1
    votes[:, VOTES.index("unknown")] += 1
    labels = shown.copy()
    labels[::4], labels[-1] = FERPLUS.index("fear"), -1
    names = [NAME, *(f"{i}.png" for i in range(1, count))]
    fer2013 = np.array([FER2013.index(FERPLUS[i]) for i in shown])
    return FaceDataset(crops, one_hot(labels), labels, names, fer2013, votes)


def spoilt(model: EmotionModel, name: str = "other", **changes: Any) -> EmotionModel:
    """A copy that prefers anger."""
    network = copy.deepcopy(model.network)
    network.fc.bias.data[FERPLUS.index("anger")] += 8
    return EmotionModel(replace(model.spec, name=name, **changes), network, torch.device("cpu"))


class Reader(HTMLParser):
    """Collects what a page asks for, its ids, and whether its tags close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.counts: dict[str, int] = {}
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.note(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.note(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def note(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.counts[tag] = self.counts.get(tag, 0) + 1
        for key, value in attrs:
            if key == "id":
                self.ids.append(value or "")
            if key in ("src", "href", "xlink:href", "action", "srcset", "data"):
                self.links.append(value or "")


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


@pytest.fixture(scope="module")
def made(model: EmotionModel, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Any]:
    """A full report with everything in it: its page, its figures."""
    out = tmp_path_factory.mktemp("report")
    faces = drawn_faces()
    html, numbers = report(
        model,
        faces,
        out / "deep",
        options=ReportOptions("validation", "python -m train report", faces=True),
        against=spoilt(model, set_threshold=0.2),
        duplicate=np.arange(len(faces)) == 1,
    )
    assert html == out / "deep" / "ferplus-face27-validation.html"
    return html.read_text(encoding="utf-8"), json.loads(numbers.read_text(encoding="utf-8"))


# --- the page ------------------------------------------------------------------------------------


def test_the_page_is_whole_and_asks_for_nothing(made: tuple[str, Any]) -> None:
    page, _ = made
    reader = read(page)
    assert len(set(reader.ids)) == len(reader.ids)
    for link in reader.links:
        assert link.startswith(("#", "data:")), link
        if link.startswith("#"):
            assert link[1:] in reader.ids
    assert "http" not in page
    assert "script" not in reader.counts
    assert "@import" not in page
    for target in re.findall(r"url\(([^)]*)\)", page):
        assert target.startswith("#"), target
        assert target[1:] in reader.ids
    assert "prefers-color-scheme: dark" in page
    assert 'name="viewport"' in page


def test_the_page_shows_the_figures(made: tuple[str, Any]) -> None:
    page, data = made
    text = read(page).text
    figures, other = data["figures"], data["against"]["figures"]
    for share in (
        figures["accuracy"],
        figures["ece"],
        figures["sets"]["coverage"],
        figures["robustness"]["corruption_mean"],
        figures["votes"]["agree_tagger"],
        figures["without_duplicates"]["accuracy"],
        other["accuracy"],
        other["sets"]["coverage"],
    ):
        assert percent(share) in text or percent(share, 2) in text
    assert spread(figures["accuracy_interval"]) in text
    for value in (figures["votes"]["kl_model"], other["votes"]["kl_model"]):
        assert f"{value:.3f}" in text
    for kind in (*figures["robustness"]["corruptions"], *figures["robustness"]["framings"]):
        assert kind.replace("_", " ") in text
    for row in figures["curves"].values():
        assert f"{row['roc_auc']:.3f}" in text
    assert p_value(data["against"]["mcnemar"]["all"]["p"]) in text
    assert data["model"]["sha256"][:16] in text


def test_each_chart_says_how_to_read_it(made: tuple[str, Any]) -> None:
    page, _ = made
    for section in re.findall(r"<section.*?</section>", page, re.DOTALL):
        read_me = section.count('class="read"')
        assert read_me >= max(1, section.count('class="chart"')), section[:80]


def test_a_hostile_name_stays_text(made: tuple[str, Any]) -> None:
    page, data = made
    assert NAME in {item["name"] for item in data["mistakes"]}
    assert NAME not in page
    assert NAME in read(page).text


def test_pictures_only_when_asked_and_then_with_a_warning(
    model: EmotionModel, made: tuple[str, Any], tmp_path: Path
) -> None:
    page, data = made
    assert read(page).counts["img"] == len(data["mistakes"]) > 1
    assert "not yours to pass on" in page
    quick = ReportOptions("test", robust=False)
    plain = report(model, drawn_faces(), tmp_path, options=quick)[0].read_text()
    assert "img" not in read(plain).counts
    assert "not yours to pass on" not in plain
    shown = re.findall(r"data:image/png;base64,([\w+/=]+)", page)
    assert len(set(shown) - set(re.findall(r"base64,([\w+/=]+)", plain))) == len(data["mistakes"])


def test_what_was_not_measured_is_left_out(model: EmotionModel, tmp_path: Path) -> None:
    faces = drawn_faces(4)
    labels = np.array([FERPLUS.index(p.label) for p in classify(model, faces.crops)])
    faces = replace(faces, labels=labels, votes=np.zeros((4, 10), np.int64))
    options = ReportOptions("test", robust=False, limit=4)
    html, numbers = report(model, faces, tmp_path, options=options)
    page, data = html.read_text(), json.loads(numbers.read_text())
    reader = read(page)
    assert not {"damage", "votes"} & set(reader.ids)
    assert "robustness" not in data["figures"]
    assert data["figures"]["votes"] is None
    assert data["against"] is None
    assert "were not looked for" in page
    assert "label that the data set gives" in page
    assert "every answer is right" in page
    assert "a trial, not a result" in page


def test_the_same_again_is_the_same_file(model: EmotionModel, tmp_path: Path) -> None:
    options = ReportOptions("test", robust=False)
    digests = set()
    for name in ("one", "two"):
        files = report(model, drawn_faces(5), tmp_path / name, options=options)
        digests.add(tuple(hashlib.sha256(f.read_bytes()).hexdigest() for f in files))
    assert len(digests) == 1


# --- the figures ---------------------------------------------------------------------------------


def test_figures_are_those_of_evaluate(made: tuple[str, Any], model: EmotionModel) -> None:
    _, data = made
    faces = drawn_faces()
    duplicate = np.arange(len(faces)) == 1
    expected = json.loads(json.dumps(evaluate(model, faces, duplicate=duplicate)))
    del expected["seconds"]
    assert {key: data["figures"][key] for key in expected} == expected
    assert set(data["figures"]) - set(expected) == {"curves", "reliability", "robustness", "votes"}
    assert data["figures"]["n"] == 5
    assert data["faces_in_split"] == 6
    assert data["figures"]["votes"]["n"] == 6, "the face without a label has votes"
    theirs = evaluate(spoilt(model, set_threshold=0.2), faces)
    assert data["against"]["figures"]["confusion"] == theirs["confusion"]
    assert data["against"]["figures"]["sets"] == theirs["sets"]


def test_mcnemar_counts_the_faces_that_only_one_gets_right(
    made: tuple[str, Any], model: EmotionModel
) -> None:
    faces = drawn_faces()
    known = faces.where(faces.labels >= 0)
    right = [
        np.array([p.label == FERPLUS[t] for p, t in zip(answers, known.labels, strict=True)])
        for answers in (classify(model, known.crops), classify(spoilt(model), known.crops))
    ]
    assert made[1]["against"]["mcnemar"] == {"all": mcnemar(*right)}
    one, two = (answer(m, known) for m in (model, spoilt(model)))
    parts = compare(one, two, ["anger", "sadness"])
    anger = known.labels == FERPLUS.index("anger")
    assert parts["anger"] == mcnemar(right[0][anger], right[1][anger])
    assert list(parts) == ["all", "anger", "sadness"]


def test_the_most_confident_mistakes_come_first(made: tuple[str, Any], model: EmotionModel) -> None:
    items = made[1]["mistakes"]
    confidence = [item["probability"] for item in items]
    assert confidence == sorted(confidence, reverse=True)
    faces = drawn_faces()
    predictions = classify(model, faces.crops)
    wrong = {
        name
        for name, p, label in zip(faces.names, predictions, faces.labels, strict=True)
        if label >= 0 and p.label != FERPLUS[label]
    }
    assert {item["name"] for item in items} == wrong
    first = next(item for item in items if item["name"] == NAME)
    assert first["truth"] == "fear"
    assert first["answer"] == predictions[0].label
    assert first["probability"] == pytest.approx(predictions[0].probabilities.max(), abs=1e-5)
    assert first["probability_of_truth"] == pytest.approx(
        predictions[0].probability("fear"), abs=1e-5
    )
    assert first["votes"] == {"neutral": 1, "happiness": 8, "unknown": 1}
    known = answer(model, faces.where(faces.labels >= 0))
    assert len(most_confident_mistakes(known, 1)) == 1


def test_two_models_with_other_truths_are_not_compared(model: EmotionModel, tmp_path: Path) -> None:
    network = copy.deepcopy(model.network)
    order = [FERPLUS.index(name) for name in FER2013]
    network.fc = torch.nn.Linear(network.fc.in_features, 7)
    network.fc.weight.data = model.weight[order].clone()
    network.fc.bias.data = model.bias[order].clone()
    seven = EmotionModel(
        replace(model.spec, name="seven", labels=FER2013), network, torch.device("cpu")
    )
    options = ReportOptions("test", robust=False)
    with pytest.raises(ValueError, match="compare two models with the same labels"):
        report(model, drawn_faces(), tmp_path, options=options, against=seven)
    html, numbers = report(seven, drawn_faces(), tmp_path, options=options)
    assert json.loads(numbers.read_text())["figures"]["truth"] == "fer2013"
    assert "FER2013's own label" in read(html.read_text()).text


def test_mean_evidence_sums_to_the_mean_logit(model: EmotionModel) -> None:
    faces = drawn_faces()
    labels = np.array([FERPLUS.index(p.label) for p in classify(model, faces.crops)])
    labels[3] = (labels[3] + 1) % 8  # this one is wrong and does not count
    answers = answer(model, replace(faces, labels=labels))
    maps, count = mean_evidence(model, answers)
    right = answers.logits.argmax(1) == labels
    assert count.sum() == right.sum() == len(faces) - 1
    for c in range(8):
        rows = right & (labels == c)
        if not rows.any():
            assert not maps[c].any()
            continue
        logit = answers.logits[rows, c].mean()
        assert maps[c].sum() + float(model.bias[c]) == pytest.approx(logit, abs=1e-3)
        regions = portraits(model, maps, count)[FERPLUS[c]]["regions"]
        assert sum(regions.values()) == pytest.approx(maps[c].sum(), abs=0.01)
        assert list(regions.values()) == sorted(regions.values(), reverse=True)


def test_no_right_answer_no_portrait(model: EmotionModel) -> None:
    faces = drawn_faces(2)
    guesses = np.array([FERPLUS.index(p.label) for p in classify(model, faces.crops)])
    answers = answer(model, replace(faces, labels=(guesses + 1) % 8))
    assert portraits(model, *mean_evidence(model, answers)) == {}


# --- charts and words ----------------------------------------------------------------------------


def test_charts_take_their_colours_from_the_page() -> None:
    bins = [{"low": 0.9, "high": 1.0, "n": 3, "confidence": 0.95, "accuracy": 0.5}]
    curve = {"roc": [[0, 0], [0, 1], [1, 1]]}
    for chart in (
        reliability_chart(bins, bins),
        roc_chart({"a": curve, "c": curve}, ("a", "b", "c")),
    ):
        read(chart)
        assert "var(--ink)" in chart
        assert not re.findall(r"#[0-9a-f]{6}", chart), "a colour that dark mode cannot change"
    assert "var(--s2)" in chart
    assert "var(--s1)" not in chart


def test_words_for_numbers() -> None:
    assert percent(0.8747) == "87.5\u202f%"
    assert percent(None) == "–"
    assert spread(interval(5, 10)) == "23.7 to 76.3\u202f%"
    assert spread(None) == "–"
    assert [p_value(p) for p in (3e-9, 0.0123, 0.5, 1.0)] == ["< 0.0001", "0.012", "0.50", "1.00"]


# --- the command line and the browser ------------------------------------------------------------


def test_report_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for split in ("train", "test"):
        for index, mood in enumerate(MOODS):
            path = tmp_path / "data" / split / mood / f"{split}{index}.png"
            path.parent.mkdir(parents=True)
            Image.fromarray(load_image(EXAMPLES / f"{mood}.jpg")[70:400, 75:405]).save(path)
    arguments = ["report", "--data", str(tmp_path / "data"), "--weights", "ferplus-face27"]
    assert main([*arguments, "--out", str(tmp_path), "--limit", "3", "--no-robust"]) == 0
    html, numbers = map(Path, capsys.readouterr().out.split())
    page, data = html.read_text(), json.loads(numbers.read_text())
    assert data["figures"]["n"] == 3
    assert data["figures"]["without_duplicates"]["left_out"] == 3, "both splits are the same"
    assert data["command"] == (
        "python -m train report --data DIR --weights ferplus-face27 --split test --out DIR "
        "--limit 3 --no-robust"
    )
    assert str(tmp_path) not in page
    assert main([*arguments, "--out", str(tmp_path), "--against", "nobody"]) == 1
    assert "no model 'nobody'" in capsys.readouterr().err


@pytest.mark.browser
def test_the_page_fits_a_phone(made: tuple[str, Any], tmp_path: Path, browser: Any) -> None:
    (tmp_path / "page.html").write_text(made[0], encoding="utf-8")
    asked: list[str] = []
    for scheme, dark in (("light", False), ("dark", True)):
        view = browser.new_page(viewport={"width": 400, "height": 800}, color_scheme=scheme)
        view.on("request", lambda request: asked.append(request.url))
        view.goto((tmp_path / "page.html").as_uri())
        assert view.evaluate("document.documentElement.scrollWidth") <= 400
        colour = view.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (max(map(int, re.findall(r"\d+", colour))) < 60) is dark
        view.close()
    assert {url.split(":")[0] for url in asked} <= {"file", "data"}
