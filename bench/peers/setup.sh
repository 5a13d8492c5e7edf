#!/bin/sh
# Makes the environment of a peer of bench/black_box.py, which cannot share one with xgraph.
#
#     sh bench/peers/setup.sh dianna interpretdl
#
# It lies beside this file, in .venv-NAME. PYTHON is the interpreter that xgraph runs in (default: python3): the peer
# gets the same version of the engine, so that what is compared is the code around it.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}

# The version of a package that xgraph runs with, as a requirement; the bare name where it is not installed.
as_ours() {
    "$python" - "$1" <<'CODE'
import sys
from importlib import metadata

try:
    print(f"{sys.argv[1]}=={metadata.version(sys.argv[1])}")
except metadata.PackageNotFoundError:
    print(sys.argv[1])
CODE
}

environment() {
    "$python" -m venv "$here/.venv-$1"
    pip="$here/.venv-$1/bin/python -m pip install --quiet --disable-pip-version-check"
}

[ $# -gt 0 ] || { echo "usage: setup.sh dianna|interpretdl ..." >&2; exit 2; }
for peer in "$@"; do
    case $peer in
    dianna)
        # Of what it requires, only its dashboard uses PyTorch; all else is here.
        environment dianna
        $pip "$(as_ours onnxruntime)" "$(as_ours numpy)" "$(as_ours shap)" "$(as_ours lime)" fastdtw ipython \
            matplotlib onnx pandas pooch scikit-image scikit-learn tqdm xarray
        $pip --no-deps dianna==1.8.1
        ;;
    interpretdl)
        # It requires a scikit-learn that no current Python has; it runs with one below 1.2.
        environment interpretdl
        $pip paddlepaddle==3.3.1 "numpy<2" "scikit-learn==1.1.3" "scikit-image<0.23" "ipython<9" matplotlib \
            "opencv-python-headless<4.11" pillow requests setuptools tqdm
        $pip --no-deps interpretdl==0.8.0
        ;;
    *)
        echo "no such peer: $peer" >&2
        exit 2
        ;;
    esac
    echo "$here/.venv-$peer"
done
