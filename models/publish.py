"""Put a model file into the store under its digest, and pin it in `functions/NAME/model.json`.

    python -m models.publish NAME FILE [key=value ...]

NAME is a function. The file is loaded by that function's own classifier first, so that a model that
does not load is never pinned. `key=value` pairs, the values in JSON, go into the pin; labels and
threshold are the present pin's where they are not given.
"""

import argparse
import datetime
import hashlib
import importlib
import json
import shutil
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
FORMATS = {".tflite": "tflite", ".keras": "keras", ".h5": "h5", ".npz": "linear", ".joblib": "joblib"}


def main() -> None:
    """Publish one file."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("name", choices=sorted(path.parent.name for path in ROOT.glob("functions/*/main.py")))
    parser.add_argument("file", type=Path)
    parser.add_argument(
        "settings", nargs="*", metavar="key=value", help="more for the pin; the value is JSON"
    )
    arguments = parser.parse_args()
    settings = dict(setting.split("=", 1) for setting in arguments.settings)
    pin = publish(arguments.name, arguments.file, {key: json.loads(value) for key, value in settings.items()})
    print(f"{arguments.name}: {pin['file']}, version {pin['version']}")


def publish(name: str, file: Path, settings: dict[str, Any], root: Path = ROOT) -> dict[str, Any]:
    """Copy `file` into `root`/models and write the pin.

    Raises:
        SystemExit: no format has such a suffix.
        shared.errors.ModelUnavailable: the function's classifier cannot load it.
    """
    if file.suffix not in FORMATS:
        raise SystemExit(f"{file}: expected a file that ends in one of {', '.join(FORMATS)}")
    place = root / "functions" / name / "model.json"
    present = json.loads(place.read_text()) if place.exists() else {}
    content = file.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    pin = {
        "file": f"{name}/{name}-{digest[:12]}{file.suffix}",
        "sha256": digest,
        "bytes": len(content),
        "format": FORMATS[file.suffix],
        "version": f"{today}-{digest[:7]}",
        "labels": present.get("labels"),
        "threshold": present.get("threshold", 0.5),
        "trained": today,
        **settings,
    }
    classifier = importlib.import_module(f"functions.{name}.classifier").Classifier.load(file, pin)
    if hasattr(classifier, "size"):
        pin["input"] = {"size": list(classifier.size), "channels": "RGB", **pin.get("input", {})}
    target = root / "models" / pin["file"]
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        shutil.copyfile(file, target.with_suffix(".part"))
        target.with_suffix(".part").replace(target)
    place.write_text(json.dumps(pin, indent=1) + "\n")
    return pin


if __name__ == "__main__":
    main()
