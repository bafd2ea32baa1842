"""The contenders: how each is started, its requests, and how a right answer is recognised."""

import base64
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from shared.pin import Pin

from . import inputs
from .environments import ROOT
from .process import Request, free_port

CORES = os.cpu_count() or 1
SERVERS = ROOT / "benchmarks" / "servers"
PINS = {name: Pin.read(ROOT / "functions" / name / "model.json") for name in ("malaria", "review")}
TWIN = "malaria/malaria-float.tflite"
"""The network that the pinned malaria file was quantised from; `models/malaria/train.py` makes both."""
SHARED_PARTS = ("shared/runtimes/pixels.py", "shared/errors.py")
"""The files of ours that the peers use, for the preprocessing."""


def says(*labels: str) -> Callable[[bytes], bool]:
    """Return a check that the body of an answer contains one of these labels."""
    return lambda body: any(f'"{label}"'.encode() in body for label in labels)


@dataclass(frozen=True)
class Contender:
    """One way to serve a model.

    Args:
        name: its name, which is also that of its folder in `servers` or `functions` unless `home` is given.
        task: `malaria`, `review` or `floor`.
        title: its name in the tables.
        settings: a description of how it is set up.
        command: makes the command from the environment's folder and the port.
        requests: a request for each form of body; the first one is that of the tables.
        batch: makes a request from a number of inputs; None if it takes only one input a request.
        folder: its working directory.
        sources: the files and folders that would be uploaded, relative to the repository.
        environment: its own environment variables; `PORT` stands for its port, `FREE` for any free one.
        own: whether it is ours, and so is also measured with its model in a bucket.
        litert: whether it serves the pinned LiteRT file, and so is also measured with that file's float twin.
        home: the name of its folder, if it differs from `name`.
    """

    name: str
    task: str
    title: str
    settings: str
    command: Callable[[Path, int], Sequence[str]]
    requests: Mapping[str, Request]
    folder: Path
    sources: Sequence[str]
    batch: Callable[[int], Request] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    own: bool = False
    litert: bool = False
    home: str = ""

    @property
    def setup(self) -> str:
        """The name of its folder and its environment."""
        return self.home or self.name

    @property
    def requirements(self) -> Path:
        """The requirements.txt of its environment."""
        parent = ROOT / "functions" if self.own else SERVERS
        return parent / self.setup / "requirements.txt"

    @property
    def request(self) -> Request:
        """The request of the tables."""
        return next(iter(self.requests.values()))

    def source_bytes(self) -> int:
        """Return the size of the files that would be uploaded, uncompressed, in bytes."""
        paths = [path for source in self.sources for path in _files(ROOT / source)]
        return sum(path.stat().st_size for path in paths)

    def variables(self, port: int, more: Mapping[str, str]) -> dict[str, str]:
        """Return all environment variables of its process."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        ports = {"PORT": str(port)}
        own = {name: ports.get(value) or _given(value) for name, value in self.environment.items()}
        path = os.pathsep.join([str(ROOT), str(SERVERS)])
        return {**kept, "PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3", **own, **more}


def _given(value: str) -> str:
    return str(free_port()) if value == "FREE" else value


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    return [each for each in path.rglob("*") if each.is_file() and "__pycache__" not in each.parts]


def peer(name: str) -> list[str]:
    """Return the sources that a peer with the LiteRT file would upload."""
    return [f"benchmarks/servers/{name}", *SHARED_PARTS, f"models/{PINS['malaria'].file}"]


def framework(target: str, source: str) -> Callable[[Path, int], list[str]]:
    """Return the command of functions-framework for a source file, as the platform starts it."""
    fixed = ["-m", "functions_framework", "--target", target, "--source", source, "--host", "127.0.0.1"]
    return lambda folder, port: [str(folder / "bin" / "python"), *fixed, "--port", str(port)]


def script(*words: str) -> Callable[[Path, int], list[str]]:
    """Return the command of a program in the environment; `PORT` stands for the port."""
    return lambda folder, port: [
        str(folder / "bin" / words[0]),
        *(word.replace("PORT", str(port)) for word in words[1:]),
    ]


def field_of(kind: str, name: str, path: str = "/classify") -> Request:
    """Return a request with the cell in a field of a form."""
    return Request(path, *inputs.multipart(name, inputs.cell(), kind), says("Infected"))


def as_json(path: str, body: bytes, *labels: str) -> Request:
    """Return a JSON request whose answer must contain one of these labels."""
    return Request(path, "application/json", body, says(*labels))


def form(text: str) -> bytes:
    """Return the body of a form with a review, as browsers send it."""
    from urllib.parse import urlencode

    return urlencode({"movie_review": text}).encode()


CELL = base64.b64encode(inputs.cell()).decode()
OPEN_CELL = as_json("/v2/models/malaria/infer", inputs.open_inference("image", CELL, "base64"), "Infected")
SENTIMENTS = ("Positive", "Negative")
URLENCODED = "application/x-www-form-urlencoded"
MLSERVER = {
    "MLSERVER_HOST": "127.0.0.1",
    "MLSERVER_HTTP_PORT": "PORT",
    "MLSERVER_GRPC_PORT": "FREE",
    "MLSERVER_METRICS_PORT": "FREE",
    "MLSERVER_PARALLEL_WORKERS": str(CORES),
    "MLSERVER_DEBUG": "false",
}
WORKERS = {"WORKERS": str(CORES), "THREADS": "1"}
"""Settings of functions-framework as the peers have them: a process for each core, with one thread each."""
MANY = {"MAX_INSTANCES": "1024"}
"""The setting for batches that are larger than the default limit of a function, 32."""


def contenders() -> list[Contender]:
    """Return all contenders in the order of the tables; ours in two settings, LiteRT peers with two files."""
    return [each for one in _contenders() for each in _variants(one)]


def _variants(one: Contender) -> list[Contender]:
    if one.own:
        return [one, _by_default(one)]
    return [one, _with_twin(one)] if one.litert else [one]


def _with_twin(one: Contender) -> Contender:
    pinned = f"models/{PINS['malaria'].file}"
    return replace(
        one,
        name=f"{one.name}_float",
        home=one.setup,
        title=f"{one.title}, float file",
        settings="the same, serving the float file",
        sources=[f"models/{TWIN}" if source == pinned else source for source in one.sources],
        environment={**one.environment, "MODEL_FILE": str(ROOT / "models" / TWIN)},
    )


def _by_default(one: Contender) -> Contender:
    return replace(
        one,
        name=f"{one.name}_default",
        home=one.name,
        title=f"{one.title.strip('*')}, one worker",
        settings="the same by functions-framework's defaults: one worker, four threads for each core",
        environment=MANY,
    )


def _contenders() -> list[Contender]:
    return [
        Contender(
            name="constant",
            task="floor",
            title="constant function",
            settings=f"functions-framework, {CORES} workers",
            command=framework("constant", "benchmarks/servers/constant/main.py"),
            requests={
                "multipart": field_of("image/png", "malaria_cell_image"),
                "form": Request("/", URLENCODED, form(inputs.review()), says("Infected")),
            },
            folder=ROOT,
            sources=["benchmarks/servers/constant"],
            environment=WORKERS,
        ),
        Contender(
            name="malaria",
            task="malaria",
            title="**malaria (ours)**",
            settings=f"functions-framework, {CORES} workers; LiteRT",
            command=framework("predict", "functions/malaria/main.py"),
            requests={
                "multipart": field_of("image/png", "malaria_cell_image"),
                "raw": Request("/classify", "image/png", inputs.cell(), says("Infected")),
            },
            batch=lambda count: as_json("/classify", inputs.images(count), "Infected"),
            folder=ROOT,
            sources=["functions/malaria", "shared"],
            environment={**WORKERS, **MANY},
            own=True,
        ),
        Contender(
            name="malaria_litserve",
            task="malaria",
            title="LitServe",
            settings=f"LiteRT; {CORES} workers, fast queue; base64 in JSON",
            command=script("python", "server.py", "PORT"),
            requests={"json": as_json("/classify", json.dumps({"image": CELL}).encode(), "Infected")},
            folder=SERVERS / "malaria_litserve",
            sources=[*peer("malaria_litserve"), "benchmarks/servers/network.py"],
            litert=True,
        ),
        Contender(
            name="malaria_bentoml",
            task="malaria",
            title="BentoML",
            settings=f"LiteRT; {CORES} workers (cpu_count); multipart",
            command=script("bentoml", "serve", "service:Malaria", "--host", "127.0.0.1", "--port", "PORT"),
            requests={"multipart": field_of("image/png", "image")},
            folder=SERVERS / "malaria_bentoml",
            sources=[*peer("malaria_bentoml"), "benchmarks/servers/network.py"],
            environment={"BENTOML_DO_NOT_TRACK": "True"},
            litert=True,
        ),
        Contender(
            name="malaria_mlserver",
            task="malaria",
            title="MLServer",
            settings=f"LiteRT; {CORES} parallel workers; base64 in the Open Inference Protocol",
            command=script("mlserver", "start", "."),
            requests={"json": OPEN_CELL},
            batch=lambda count: as_json(
                "/v2/models/malaria/infer", inputs.open_inference("image", CELL, "base64", count), "Infected"
            ),
            folder=SERVERS / "malaria_mlserver",
            sources=[*peer("malaria_mlserver"), "benchmarks/servers/network.py"],
            environment=MLSERVER,
            litert=True,
        ),
        Contender(
            name="malaria_mlserver_alone",
            home="malaria_mlserver",
            task="malaria",
            title="MLServer, no workers",
            settings="the same in one process: parallel_workers 0",
            command=script("mlserver", "start", "."),
            requests={"json": OPEN_CELL},
            folder=SERVERS / "malaria_mlserver",
            sources=[*peer("malaria_mlserver"), "benchmarks/servers/network.py"],
            environment={**MLSERVER, "MLSERVER_PARALLEL_WORKERS": "0"},
            litert=True,
        ),
        Contender(
            name="malaria_tensorflow",
            task="malaria",
            title="functions-framework + Keras",
            settings=f"functions-framework, {CORES} workers; TensorFlow, a lazy global; multipart",
            command=framework("classify", "benchmarks/servers/malaria_tensorflow/main.py"),
            requests={"multipart": field_of("image/png", "malaria_cell_image")},
            folder=ROOT,
            sources=[
                "benchmarks/servers/malaria_tensorflow",
                *SHARED_PARTS,
                "models/malaria/malaria.keras",
            ],
            environment=WORKERS,
        ),
        Contender(
            name="malaria_article",
            task="malaria",
            title="the article's app",
            settings="Flask, TensorFlow, the model loaded for each request; gunicorn, one worker; multipart",
            command=script("gunicorn", "--bind", "127.0.0.1:PORT", "--timeout", "120", "app:app"),
            requests={"multipart": field_of("image/png", "malaria_cell_image")},
            folder=SERVERS / "malaria_article",
            sources=["benchmarks/servers/malaria_article", "models/malaria/malaria.keras"],
        ),
        Contender(
            name="review",
            task="review",
            title="**review (ours)**",
            settings=f"functions-framework, {CORES} workers; numpy",
            command=framework("predict", "functions/review/main.py"),
            requests={
                "form": Request("/predict", URLENCODED, form(inputs.review()), says(*SENTIMENTS)),
                "raw": Request("/predict", "text/plain", inputs.review().encode(), says(*SENTIMENTS)),
            },
            batch=lambda count: as_json("/predict", inputs.texts(count), *SENTIMENTS),
            folder=ROOT,
            sources=["functions/review", "shared"],
            environment={**WORKERS, **MANY},
            own=True,
        ),
        Contender(
            name="review_litserve",
            task="review",
            title="LitServe + scikit-learn",
            settings=f"joblib pipeline; {CORES} workers, fast queue; JSON",
            command=script("python", "server.py", "PORT"),
            requests={
                "json": as_json("/predict", json.dumps({"text": inputs.review()}).encode(), *SENTIMENTS)
            },
            folder=SERVERS / "review_litserve",
            sources=["benchmarks/servers/review_litserve", "build/bench/review.joblib"],
        ),
        Contender(
            name="review_mlserver",
            task="review",
            title="MLServer + scikit-learn",
            settings=f"joblib pipeline, mlserver-sklearn; {CORES} parallel workers; Open Inference Protocol",
            command=script("mlserver", "start", "."),
            requests={
                "json": as_json(
                    "/v2/models/review/infer",
                    inputs.open_inference("text", inputs.review(), "str"),
                    *SENTIMENTS,
                )
            },
            folder=SERVERS / "review_mlserver",
            sources=["benchmarks/servers/review_mlserver", "build/bench/review.joblib"],
            environment=MLSERVER,
        ),
        Contender(
            name="review_sklearn",
            task="review",
            title="functions-framework + scikit-learn",
            settings=f"functions-framework, {CORES} workers; joblib pipeline loaded with the module; form",
            command=framework("predict", "benchmarks/servers/review_sklearn/main.py"),
            requests={"form": Request("/predict", URLENCODED, form(inputs.review()), says(*SENTIMENTS))},
            folder=ROOT,
            sources=["benchmarks/servers/review_sklearn", "build/bench/review.joblib"],
            environment=WORKERS,
        ),
    ]
