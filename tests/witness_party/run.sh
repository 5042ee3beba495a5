#!/usr/bin/env bash
# Holds our logs, notes and witness against another implementation: `make parties`.
#
# That one takes Python 3.12 or newer, so the suite has a venv of its own, in build/parties. Where no such
# interpreter is found it fails: a suite that leaves itself out says nothing.
set -euo pipefail
cd "$(dirname "$0")/../.."

python=
for version in 3.14 3.13 3.12; do
  for candidate in "python$version" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version".*/bin/"python$version"; do
    if "$candidate" -c 'import ensurepip, venv' >/dev/null 2>&1; then python=$candidate; break 2; fi
  done
done
if [ -z "$python" ]; then
  echo "make parties: no Python 3.12 or newer, on PATH or under pyenv; the other witness takes none older." >&2
  echo "Install one, for example: pyenv install 3.13" >&2
  exit 2
fi

venv=build/parties/venv
made=$venv/.made
lock=requirements/parties.txt
if ! cmp -s "$lock" "$made" || ! "$venv/bin/python" -c '' 2>/dev/null; then
  echo "Making $venv with $("$python" -V)"
  "$python" -m venv --clear "$venv"
  "$venv/bin/python" -m pip --disable-pip-version-check install -q --require-hashes -r "$lock"
  cp "$lock" "$made"
fi
unset PYTHONDONTWRITEBYTECODE
# Ours from the source tree: what is installed there is the other side, pytest, and what ours needs.
PYTHONPATH="$PWD:$PWD/cli" exec "$venv/bin/python" -P -m pytest -q -p no:cacheprovider tests/witness_party/parties.py "$@"
