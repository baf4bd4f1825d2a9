#!/usr/bin/env bash
# The main jobs in one go, on drawn images: train, encode, decode, report; train a generator, generate.
# Everything trains for less than its recipe says, in small batches. Usage: examples/demo.sh FOLDER
set -euo pipefail
out=${1:-out/demo}
few=(--set training.batch_size=32 --set training.validation_images=2000)
rm -rf "$out"
vqcli train demo --out "$out/run" "${few[@]}"
vqcli encode demo:5000 --split test -o "$out/tokens.npy" -m "$out/run"
vqcli decode "$out/tokens.npy" -o "$out/reconstructions" -m "$out/run" --limit 64
vqcli usage-report "$out/tokens.npy" -o "$out/usage.html" --fail-below 0.99
vqcli train demo-64 --out "$out/run-64" "${few[@]}"
vqcli encode demo:20000 --split train -o "$out/train.npy" -m "$out/run-64"
vqcli train gpt-demo --data "$out/train.npy" --tokenizer "$out/run-64" --out "$out/gpt" --set training.steps=4000
vqcli generate --prompt-class 0-9 -n 8 -m "$out/gpt" -o "$out/generated"
echo "Pictures: $out/run/samples (originals above, reconstructions below), $out/reconstructions, $out/usage.html,"
echo "  $out/gpt/samples while it trained, $out/generated and $out/generated-sheet.png (a row of each class)"
