#!/usr/bin/env bash
# Compile every requirements file with hashes; dev.txt is the one resolution, the others are subsets of it.
# Needs uv on PATH. Writes no registry addresses.
set -euo pipefail
cd "$(dirname "$0")/.."
compile() { uv pip compile --quiet --generate-hashes --no-header --no-annotate --python-version 3.11 --python-platform x86_64-manylinux_2_28 "$@"; }
compile requirements/dev.in -o requirements/dev.txt
compile requirements/harness.in -c requirements/dev.txt -o requirements/harness.txt
compile src/backend/requirements.prod.in -c requirements/dev.txt -o src/backend/requirements.prod.txt
compile requirements/ffmpeg.in -c requirements/dev.txt -o requirements/ffmpeg.txt
compile requirements/aws.in -o requirements/aws.txt
compile src/parity/r2/versitygw/toolchain.in -o src/parity/r2/versitygw/toolchain.txt
