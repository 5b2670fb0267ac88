#!/bin/sh
# Pins the dependencies again: requirements/*.txt from *.in, with hashes, and package-lock.json from package.json.
# No file names a registry. Run by `make lock`, from the project root.
set -eu
pin() {
	.venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		--no-header --no-emit-index-url "$@"
}
pin requirements/dev.in -o requirements/dev.txt
pin requirements/main.in -c requirements/dev.txt -o requirements/main.txt
pin requirements/analysis.in -c requirements/dev.txt -o requirements/analysis.txt
pin requirements/brownie.in -o requirements/brownie.txt
pin requirements/node.in -o requirements/node.txt
npm install --package-lock-only
node scripts/complete_lockfile.mjs
