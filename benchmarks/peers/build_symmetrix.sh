#!/usr/bin/env bash
# Builds symmetrix, a peer of speed_symmetrix.py, into an environment that has what it needs:
#   build_symmetrix.sh VENV SOURCE
# SOURCE is its checkout, cloned where there is none. Takes git, a C++ compiler and five minutes.
set -euo pipefail
venv=$(realpath "$1")
source=$2
if [ ! -e "$source" ]; then
  # under its name only when it is whole
  rm -rf "$source.part"
  git clone --quiet https://github.com/wcwitt/symmetrix "$source.part"
  git -C "$source.part" checkout --quiet 739660acb523bc5f30cd57cee6611161a33e2605
  git -C "$source.part" submodule --quiet update --init --recursive
  mv "$source.part" "$source"
fi
# its binding gives Kokkos one thread whatever is asked
sed -i '/settings.set_num_threads(1)/d' "$source/libsymmetrix/source/tools_kokkos.cpp"
# the name of the setting before scikit-build-core 0.8
sed -i 's/^cmake.minimum-version = "\(.*\)"/cmake.version = ">=\1"/' "$source/symmetrix/pyproject.toml"
ln -sf "$(basename "$venv"/lib/libmkl_rt.so.*)" "$venv/lib/libmkl_rt.so"
options=(
  CMAKE_BUILD_TYPE=Release
  CMAKE_POLICY_VERSION_MINIMUM=3.5
  CMAKE_INSTALL_RPATH="$venv/lib"
  BLAS_LIBRARIES="$venv/lib/libmkl_rt.so"
  Kokkos_ENABLE_OPENMP=ON
  # found with a CUDA compiler, built only with all headers
  Kokkos_ENABLE_CUDA=OFF
  SPHERICART_ENABLE_CUDA=OFF
)
PATH=$venv/bin:$PATH "$venv/bin/pip" install --quiet --no-build-isolation --no-deps \
  "${options[@]/#/--config-settings=cmake.define.}" "$source/symmetrix"
