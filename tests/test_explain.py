"""What is said of an explanation: contrasts, FACS, occlusion, methods; reports and their checks."""

import copy
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from emotion.cam import CamExplainer
from emotion.classify import classify
from emotion.cli import main
from emotion.contrast import contrast
from emotion.errors import ReportError
from emotion.facs import EXPECTED, facs_note, overlap, share_within
from emotion.faithfulness import SIDE, hide
from emotion.geometry import apply
from emotion.images import load_image
from emotion.labels import FERPLUS
from emotion.landmarks import MEAN_FACE
from emotion.methods import METHODS, compare_methods
from emotion.occlusion import CELLS, occlusion_map, patch
from emotion.pipeline import EmotionPipeline
from emotion.regions import REGIONS, region_map
from emotion.report import explain_face, report_json
from emotion.report_page import report_html
from emotion.results import FaceResult
from emotion.verify import read_report, verify
from tests.clips import drawn

EXAMPLE = Path(__file__).resolve().parent.parent / "emotion" / "examples" / "happiness.jpg"


@pytest.fixture(scope="module")
def face(pipeline: EmotionPipeline) -> FaceResult:
    (found,) = pipeline(drawn("happiness")).faces
    return found


@pytest.fixture(scope="module")
def explainer(pipeline: EmotionPipeline) -> CamExplainer:
    return CamExplainer(pipeline.model)


@pytest.fixture(scope="module")
def report(pipeline: EmotionPipeline) -> dict:
    data = EXAMPLE.read_bytes()
    explained = explain_face(pipeline, pipeline(load_image(data)).faces)
    return report_json(pipeline, explained, data=data, name="happiness.jpg")


# --- why A and not B -----------------------------------------------------------------------------


def test_a_contrast_sums_to_the_margin_less_the_biases(face) -> None:
    for label, other in ((None, None), ("fear", "surprise"), ("neutral", "anger")):
        found = contrast(face.prediction, face.explanation, label, other)
        margin = np.diff(
            [face.prediction.logits[FERPLUS.index(n)] for n in (found.other, found.label)]
        )[0]
        for parts in (found.evidence, found.region_evidence):
            assert parts.sum() + found.bias == pytest.approx(margin, abs=1e-3)
        assert found.margin == pytest.approx(margin, abs=1e-4)


def test_a_contrast_is_of_the_first_two_by_default_and_changes_sign(face) -> None:
    order = np.argsort(-face.prediction.probabilities)
    found = contrast(face.prediction, face.explanation)
    assert (found.label, found.other) == tuple(FERPLUS[i] for i in order[:2])
    back = contrast(face.prediction, face.explanation, found.other, found.label)
    np.testing.assert_array_equal(back.evidence, -found.evidence)
    ahead = found.label.capitalize()
    assert found.sentence.startswith(f"{ahead} is ")
    assert back.sentence.startswith(f"{ahead} is "), "who is ahead does not depend on the question"
    with pytest.raises(ValueError, match="than itself"):
        contrast(face.prediction, face.explanation, "fear", "fear")
    with pytest.raises(ValueError, match="no label 'joy'"):
        contrast(face.prediction, face.explanation, "joy")


def test_a_contrast_without_difference_says_so(face) -> None:
    same = replace(face.explanation, region_evidence=np.zeros((8, 11), np.float32))
    assert "no region tells the two apart" in contrast(face.prediction, same).sentence


# --- FACS ----------------------------------------------------------------------------------------


def test_facs_knows_every_emotion_but_neutral_and_real_regions() -> None:
    assert set(EXPECTED) == set(FERPLUS) - {"neutral"}
    for expected in EXPECTED.values():
        assert set(expected.regions) <= set(REGIONS) - {"outside"}


def test_the_note_counts_positive_evidence_and_warns_of_what_lies_outside(face) -> None:
    row = np.zeros((8, 11), np.float32)
    row[1, REGIONS.index("mouth")] = 3
    row[1, REGIONS.index("forehead")] = 1
    row[1, REGIONS.index("jaw")] = -5
    made = replace(face.explanation, region_evidence=row)
    assert share_within(made, "happiness", EXPECTED["happiness"].regions) == pytest.approx(0.75)
    note = facs_note(made, "happiness")
    assert "6+12" in note
    assert "75% of the evidence" in note
    assert "Beware" not in note
    row[1, REGIONS.index("outside")] = 4
    assert "Beware: 50% of it lies outside the face" in facs_note(made, "happiness")
    assert "no action units for neutral" in facs_note(made, "neutral")
    assert share_within(made, "fear", EXPECTED["fear"].regions) is None


def test_overlap_is_one_for_the_expected_regions_themselves() -> None:
    numbers = region_map(MEAN_FACE, 64)
    wanted = np.isin(numbers, [REGIONS.index(r) for r in EXPECTED["disgust"].regions])
    assert overlap(wanted, MEAN_FACE, "disgust") == 1
    assert overlap(~wanted, MEAN_FACE, "disgust") == 0
    assert overlap(wanted, MEAN_FACE, "neutral") is None


# --- occlusion and methods -----------------------------------------------------------------------


def test_occlusion_asks_the_model(pipeline, face) -> None:
    found = occlusion_map(pipeline.model, face.crop, "happiness")
    assert found.shape == (CELLS, CELLS)
    import cv2

    small = cv2.resize(face.crop, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    pair = classify(pipeline.model, [small, hide(small, patch(5, 3), "blur")])
    drop = float(pair[0].logits[1] - pair[1].logits[1])
    assert found[5, 3] == pytest.approx(drop, abs=1e-3)
    assert found[5, 3] > found[0, 0], "the drawn smile matters more than a corner"
    covered = sum(patch(i, j).astype(int) for i in range(CELLS) for j in range(CELLS))
    assert covered.min() >= 1, "no pixel is left out"


def test_methods_side_by_side(pipeline, face, explainer) -> None:
    found = compare_methods(pipeline.model, explainer, face)
    by_name = {m.method.name: m for m in found}
    assert len(found) == len(METHODS)
    assert by_name["Grad-CAM"].same_as == by_name["HiResCAM"].same_as == "exact evidence"
    assert [m.method.name for m in found if m.same_as] == ["Grad-CAM", "HiResCAM"]
    assert by_name["occlusion"].agreement == pytest.approx(1)
    assert by_name["LayerCAM"].map.shape == (15, 15), "from a finer layer"
    assert all(-1 <= m.agreement <= 1 for m in found)
    label = contrast(face.prediction, face.explanation).other
    other = compare_methods(pipeline.model, explainer, face, label, methods=METHODS[:1])
    assert not np.array_equal(other[0].map, by_name["exact evidence"].map)
    with pytest.raises(ValueError, match="no label"):
        compare_methods(pipeline.model, explainer, face, "joy")


def test_the_package_leaves_the_standard_error_alone(explainer, face, capfd) -> None:
    explainer.explain(face.crop, "fear", method="scorecam")
    assert capfd.readouterr().err == ""


# --- reports -------------------------------------------------------------------------------------


def test_a_report_holds_on_its_own_picture(pipeline, report) -> None:
    again = read_report(json.dumps(report))
    checks = verify(again, pipeline, EXAMPLE.read_bytes())
    assert [c.what for c in checks if not c.holds] == []
    assert len(checks) == 11


@pytest.mark.parametrize(
    ("path", "failing"),
    [
        (("face", "probabilities", "fear"), "the probabilities"),
        (("evidence", "regions", "anger", "mouth"), "the evidence by regions"),
        (("proof", "trials", "blur", "hidden"), "the proof"),
        (("hidden_parts", "logit_drops", "nose"), "what hiding each part does"),
        (("evidence", "bias", "fear"), "evidence and bias sum to the logit"),
    ],
)
def test_one_changed_number_is_found(pipeline, report, path, failing) -> None:
    changed = copy.deepcopy(report)
    place = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] += 0.5
    checks = verify(changed, pipeline, EXAMPLE.read_bytes())
    assert [c.what for c in checks if not c.holds] == [failing]


def test_another_picture_does_not_hold(pipeline, report) -> None:
    other = EXAMPLE.with_name("sadness.jpg").read_bytes()
    failed = [c.what for c in verify(report, pipeline, other) if not c.holds]
    assert {"the picture", "the probabilities", "the evidence of all labels"} <= set(failed)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "no JSON"),
        ("[]", "not a report"),
        ('{"kind": "emotion-lens report", "format": 9}', "format 9"),
        (b"\xff\xfe", "no JSON"),
    ],
)
def test_what_is_no_report_is_refused(text, message) -> None:
    with pytest.raises(ReportError, match=message):
        read_report(text)


def test_a_damaged_report_is_refused(pipeline, report) -> None:
    for key in ("settings", "evidence", "proof"):
        damaged = {k: v for k, v in report.items() if k != key}
        with pytest.raises(ReportError, match="damaged"):
            verify(damaged, pipeline, EXAMPLE.read_bytes())


def test_a_face_that_is_not_there(pipeline) -> None:
    with pytest.raises(ReportError, match="no face 1: no face found"):
        explain_face(pipeline, ())


def test_the_page_needs_nothing_and_shows_no_face_unless_told(pipeline, report) -> None:
    explained = explain_face(pipeline, pipeline(load_image(EXAMPLE)).faces)
    without = report_html(explained, report)
    crop = explained.face.crop
    with_face = report_html(explained, report, crop=crop)
    assert without.count("<img") == 2
    assert with_face.count("<img") == 4
    for page in (without, with_face):
        assert "http" not in page.replace("https://", "http://").split("<script")[0]
        assert explained.proof.sentence[:40] in page
        embedded = page.split('id="report">')[1].split("</script>")[0]
        assert read_report(embedded) == json.loads(json.dumps(report))


# --- the command ---------------------------------------------------------------------------------


def test_the_command_writes_a_report_that_it_verifies(tmp_path, capsys) -> None:
    flags = ["--detector", "hog"]
    args = ["explain", str(EXAMPLE), "--method", "gradcam++", "--out", str(tmp_path), *flags]
    assert main(args) == 0
    said = capsys.readouterr().out
    for words in ("Happiness (", "when hidden", "Hide what the map marks", "FACS", "Grad-CAM++"):
        assert words in said
    numbers = tmp_path / "happiness.face1.report.json"
    assert np.load(tmp_path / "happiness.face1.evidence.npy").shape == (8, 7, 7)
    assert np.load(tmp_path / "happiness.face1.Grad-CAM++.npy").shape == (7, 7)
    assert main(["explain", str(EXAMPLE), "--verify", str(numbers)]) == 0
    assert "The report holds." in capsys.readouterr().out
    changed = json.loads(numbers.read_text())
    changed["face"]["probabilities"]["happiness"] = 0.1
    numbers.write_text(json.dumps(changed))
    assert main(["explain", str(EXAMPLE), "--verify", str(numbers)]) == 1
    said = capsys.readouterr().out
    assert "FAILS  the probabilities" in said
    assert "does not hold" in said


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--face", "3"], "no face 3: 1 face found"),
        (["--target", "joy"], "no label 'joy'"),
        (["--target", "fear", "--versus", "fear"], "another label than itself"),
        (["--method", "magic"], "no method 'magic'"),
        (["--verify", "nowhere.json"], "cannot be read"),
    ],
)
def test_wrong_wishes_are_answered_in_a_line(more, message, capsys) -> None:
    assert main(["explain", str(EXAMPLE), "--detector", "hog", *more]) == 2
    assert message in capsys.readouterr().err


def test_the_regions_lie_where_the_face_is(face) -> None:
    """What a click in the page names is what the crop's landmarks say."""
    points = apply(face.to_crop, face.face.landmarks) if face.face.landmarks is not None else None
    if points is not None and len(points) == 68:
        numbers = region_map(points, SIDE)
        x, y = (points[48:60].mean(0) * SIDE).astype(int)
        assert REGIONS[numbers[y, x]] == "mouth"
