#!/bin/sh
# Make the virtual environment of the emulator that enforces IAM, pinned: venv_emulators.sh FOLDER
# Tests call it (tests/support/ministack.py); PYTHON names the interpreter, the one that runs the tests.
set -eu
folder=$1
python=${PYTHON:-python3}
"$python" -m venv --clear "$folder"
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes -r requirements/emulators.txt
