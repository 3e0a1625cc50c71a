#!/bin/sh
# Resolve pyproject.toml into hashed requirements that name no host. run.txt goes into the container, dev.txt into .venv,
# emulators.txt into .venv-emulators.
set -eu
common="--quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate --no-strip-extras"
uv pip compile $common --no-emit-package evidence-collector --extra all pyproject.toml -o requirements/run.txt
uv pip compile $common --no-emit-package evidence-collector --extra demo --group dev pyproject.toml -o requirements/dev.txt
uv pip compile $common requirements/build.in -o requirements/build.txt
uv pip compile $common requirements/emulators.in -o requirements/emulators.txt
