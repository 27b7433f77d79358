#!/usr/bin/env bash
# Builds evaluate.cpp against the torch of a Python environment: bash build.sh [PYTHON] [OUTPUT]
set -euo pipefail
python=${1:-python} output=${2:-evaluate}
torch=$("$python" -c 'import os, torch; print(os.path.dirname(torch.__file__))')
abi=$("$python" -c 'import torch; print(int(torch.compiled_with_cxx11_abi()))')
"${CXX:-g++}" -std=c++20 -O1 -w -D_GLIBCXX_USE_CXX11_ABI="$abi" "$(dirname "$0")/evaluate.cpp" -o "$output" \
  -isystem "$torch/include" -isystem "$torch/include/torch/csrc/api/include" \
  -L"$torch/lib" -Wl,-rpath,"$torch/lib" -ltorch -ltorch_cpu -lc10
