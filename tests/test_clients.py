"""Real clients of the Open Inference Protocol and of V1 call the functions' real processes.

They need an environment of their own, 520 MB: `make clients-test` makes it, and CI does.
"""

import json
import re
import subprocess

import pytest
from conftest import ROOT

CLIENTS = ROOT / ".venv" / "clients"
CELL = ROOT / "models" / "malaria" / "examples" / "infected.png"


@pytest.fixture(scope="module")
def python():
    if not (CLIENTS / "installed").exists():
        pytest.skip("the clients are not installed: make clients-test")
    return CLIENTS / "bin" / "python"


def test_tritonclient_kserve_and_mlserver_get_the_same_answers_as_the_page(python, start):
    review = start(ROOT / "functions" / "review" / "main.py")
    malaria = start(ROOT / "functions" / "malaria" / "main.py")

    def calls(client):
        command = [python, ROOT / "tests" / "clients" / "calls.py", client, review.url, malaria.url, CELL]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stdout + run.stderr
        return json.loads(run.stdout.splitlines()[-1])

    texts = ["A fine film, I loved it.", "Bad, I left after ten minutes."]
    body = json.dumps({"instances": texts}).encode()
    answers = review.request("POST", "/", body, "application/json").json["predictions"]
    labels = [one["review_sentiment"] for one in answers]
    shares = [list(one["probabilities"].values()) for one in answers]
    answer = malaria.request("POST", "/", CELL.read_bytes(), "image/png").json
    cell = [list(answer["probabilities"].values())] * 2

    (triton, triton_image), (kserve, kserve_image) = calls("triton"), calls("kserve")
    [mlserver] = calls("mlserver")
    for each in (triton, triton_image, kserve, kserve_image):
        assert each["live"] is each["ready"] is each["model_ready"] is True
    assert (triton["server"], triton["id"], triton["labels"]) == ("review", "t7", labels)
    assert triton["probabilities"] == triton["again"] == triton["json"] == shares
    assert triton["inputs"] == [{"name": "text", "datatype": "BYTES", "shape": [-1]}]
    assert triton["errors"][0].endswith("inputs[0].data[0]: expected a text; it is blank")
    assert "expected the model 'review'" in triton["errors"][1]
    assert triton["errors"][2].endswith("expected a body without Content-Encoding; got gzip")
    assert triton_image["labels"] == [answer["classification"]] * 2
    assert triton_image["probabilities"] == kserve_image["probabilities"] == cell
    assert kserve["probabilities"] == kserve["json"] == shares
    assert kserve["labels"] == kserve["v1"] == labels
    assert kserve["v1_live"] is kserve["v1_ready"] is True
    assert (mlserver["id"], mlserver["labels"]) == ("m7", labels)
    assert mlserver["batch"] == [[[label], [1, 2]] for label in labels]


def test_the_lines_of_the_page_for_tritonclient_classify_the_example(python, start):
    [lines] = re.findall(
        r"^```python\n(.*?tritonclient.*?)^```", (ROOT / "docs" / "scale.md").read_text(), re.M | re.S
    )
    url = start(ROOT / "functions" / "malaria" / "main.py").url
    script = lines.replace("localhost:8081", url.removeprefix("http://"))
    assert script != lines
    run = subprocess.run([python, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "Infected" in run.stdout
