"""Deploy functions to Google Cloud, and operate them. Run by `deploy.sh`; needs Python alone."""

import sys
from pathlib import Path

# Started as a folder, Python looks for modules in it; the packages lie beside it.
sys.path[0] = str(Path(__file__).resolve().parents[1])

from deploy.commands import main  # noqa: E402

sys.exit(main(sys.argv[1:]))
