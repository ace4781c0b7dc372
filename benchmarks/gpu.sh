#!/usr/bin/env bash
# What a machine with an NVIDIA card says of this library: the tests of tensors on the card, then
# every table of benchmarks/gpu, in under 8 minutes. Nothing is downloaded.
#
#   bash benchmarks/gpu.sh OUTPUT [PARCEL]
#
# OUTPUT is a folder for report.md, report.json and tests.log. PARCEL is what
# benchmarks/gpu/parcel.py packed on a machine that has an encoder and pairs of texts; without it
# nothing is trained. PYTHON names the interpreter that has torch, CUDA and Triton.
set -u
output=$(realpath -m "${1:?usage: bash benchmarks/gpu.sh OUTPUT [PARCEL]}")
parcel=${2:+$(realpath "$2")}
cd "$(dirname "$0")/.." || exit
mkdir -p "$output"
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH} HF_HUB_OFFLINE=1 PYTHONUNBUFFERED=1
python=${PYTHON:-python3}
if ! "$python" -c 'import torch; raise SystemExit(not torch.cuda.is_available())' 2>/dev/null; then
    echo "$python has no torch that sees a card. Name another with PYTHON=, or rehearse on a CPU:" >&2
    echo "  $python -m benchmarks.gpu.run --device cpu --tiny --output $output" >&2
    exit 2
fi
timeout 150 "$python" -m pytest -q --tb=short -oaddopts= -p no:cacheprovider \
    tests/devices tests/benchmarks/test_gpu_kernels.py >"$output/tests.log" 2>&1
grep -E '(passed|failed|error).* in [0-9.]+s' "$output/tests.log" | tail -n 1
exec timeout 330 "$python" -m benchmarks.gpu.run --output "$output" --seconds 270 \
    ${parcel:+--parcel "$parcel"}
