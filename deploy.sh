#!/usr/bin/env bash
# From a clean checkout to working HTTPS functions on Google Cloud, and back. See --help.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
  echo "error: python3 is not installed, or older than 3.11: see https://www.python.org/downloads" >&2
  exit 1
fi
exec python3 -B "${root}/deploy" "$@"
