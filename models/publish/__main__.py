"""Put a model file into the store under its digest, and pin it in `functions/NAME/model.json`.

    python -m models.publish NAME FILE [key=value ...] [--labels A,B] [--examples DIR|CSV]
                             [--with helper.py ...] [--store gs://bucket/prefix | FOLDER] [--dry-run]
    python -m models.publish --check [NAME ...] [--store gs://bucket/prefix | FOLDER]

The file is first tested as it will run: in a copy of the function as it is deployed, in an environment with
the function's requirements only. `key=value` pairs, with values in JSON, go into the pin: output=logits,
'range=[0,255]', channels=BGR, 'size=[64,64]', threshold=0.4. A file in a store is never overwritten, so
publishing twice changes nothing. `--check` compares the pinned files in the store with their pins.
"""

import argparse
import json
import sys
from pathlib import Path

from shared.errors import ModelUnavailable
from shared.pin import PinError
from shared.settings import SettingError, Settings

try:
    from . import Refused
    from .candidate import Options, parse
    from .publishing import ROOT, examined, publish
    from .stored import check
except ModuleNotFoundError as error:
    sys.exit(
        f"this Python has no {error.name}: run 'make setup', then '.venv/dev/bin/python -m models.publish'"
    )


def main() -> None:
    """Publish a file, or check pins."""
    summary, _, rest = str(__doc__).partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="python -m models.publish",
        description=summary,
        epilog=rest,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "words",
        nargs="*",
        metavar="NAME FILE key=value",
        help="the function, its model file, and more of the pin",
    )
    parser.add_argument("--labels", help="in the order of the model's outputs, comma separated")
    parser.add_argument("--examples", type=Path, help="a folder for each label, or a CSV with a column label")
    parser.add_argument(
        "--with",
        dest="modules",
        nargs="+",
        action="extend",
        default=[],
        metavar="helper.py",
        help="modules of yours that a pickled model imports",
    )
    parser.add_argument("--store", help="default: MODEL_STORE, or models/")
    parser.add_argument("--dry-run", action="store_true", help="test the file, print its pin, write nothing")
    parser.add_argument("--check", action="store_true", help="compare pinned files with their pins")
    arguments = parser.parse_intermixed_args()
    try:
        store = arguments.store or Settings.read().model_store
    except SettingError as error:
        parser.error(str(error))
    # `--with` consumes all words after it; those that are not modules are NAME, FILE or settings.
    words = arguments.words + [word for word in arguments.modules if not word.endswith(".py")]
    modules = tuple(Path(word) for word in arguments.modules if word.endswith(".py"))
    names = sorted(path.parent.name for path in ROOT.glob("functions/*/main.py"))
    if unknown := [word for word in (words if arguments.check else words[:1]) if word not in names]:
        parser.error(f"{unknown[0]!r} is no function; expected one of {', '.join(names)}")
    folders = [ROOT / "functions" / name for name in (words or names)]
    if arguments.check:
        sys.exit(check(folders, store))
    if len(words) < 2:
        parser.error("expected NAME and FILE, or --check")
    try:
        options = Options(
            ROOT / "functions" / words[0],
            Path(words[1]),
            parse(words[2:]),
            tuple(label.strip() for label in arguments.labels.split(",")) if arguments.labels else None,
            modules,
            arguments.examples,
        )
    except PinError as error:
        sys.exit(f"not published: {error}")
    except ValueError as error:
        parser.error(f"expected key=value with the value in JSON, such as threshold=0.4: {error}")
    try:
        with examined(options) as result:
            print("\n".join(result.remarks), file=sys.stderr if arguments.dry_run else sys.stdout)
            if arguments.dry_run:
                print(json.dumps(result.pin.content(), indent=1))
            else:
                print(publish(options, result, store))
    except (Refused, PinError, ModelUnavailable, OSError) as error:
        sys.exit(f"not published: {error}")


if __name__ == "__main__":
    main()
