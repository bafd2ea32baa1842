"""`start` refuses an invalid function with one line, before it answers any request."""

import json

import pytest
from conftest import ROOT

from shared.runtimes import images
from shared.start import start
from shared.web.readers import Images

REVIEW = ROOT / "functions" / "review"


@pytest.mark.parametrize(
    "path",
    ["/", "predict", "/health", "/ready", "/openapi.json", "/bigquery", "/v2", "/v2/a", "/a b", "", "/x/"],
)
def test_a_reserved_or_invalid_path_is_refused(path):
    with pytest.raises(SystemExit, match="path: expected one of the function's own"):
        start(
            str(REVIEW / "main.py"),
            name="digits",
            reads=Images("image"),
            model=images.Classifier,
            key="x",
            path=path,
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"threshold": 7}, r"model\.json: 'threshold': expected a number from 0 to 1, got 7"),
        ({"threshold": "high"}, r"'threshold': expected a number"),
        ({"labels": ["Negative"]}, r"'labels': expected two labels or more"),
        ({"treshold": 0.4}, r"unknown field 'treshold'"),
        ({"file": None}, r"'file': expected a text"),
    ],
)
def test_a_pin_with_a_bad_field_refuses_to_start_and_names_it(variant, load, change, message):
    pin = json.loads((REVIEW / "model.json").read_text())
    with pytest.raises(SystemExit, match=message):
        load(variant("review", {**pin, **change}))


def test_a_pin_without_a_model_says_how_to_publish_one(variant, load):
    with pytest.raises(SystemExit, match=r"publish a model first: .*python -m models\.publish review FILE"):
        load(variant("review", {"labels": ["Negative", "Positive"]}))


def test_a_format_that_can_run_code_is_refused_if_the_setting_says_so(variant, load, monkeypatch):
    pin = json.loads((REVIEW / "model.json").read_text())
    monkeypatch.setenv("ALLOW_CODE_IN_MODELS", "0")
    with pytest.raises(SystemExit, match=r"ALLOW_CODE_IN_MODELS=0: .*pins the format 'joblib'"):
        load(variant("review", {**pin, "format": "joblib"}))
    assert load("review").get("/health").status_code == 200
