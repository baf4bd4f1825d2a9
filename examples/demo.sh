#!/usr/bin/env bash
# The main job in one go, on drawn images: train, encode, decode, report. Usage: examples/demo.sh FOLDER
set -euo pipefail
out=${1:-out/demo}
rm -rf "$out"
vqcli train demo --out "$out/run"
vqcli encode demo:10000 --split test -o "$out/tokens.npy" -m "$out/run"
vqcli decode "$out/tokens.npy" -o "$out/reconstructions" -m "$out/run" --limit 64
vqcli usage-report "$out/tokens.npy" -o "$out/usage.html" --fail-below 0.99
echo "Pictures: $out/run/samples (originals above, reconstructions below), $out/reconstructions, $out/usage.html"
