#!/usr/bin/env bash
# Proves with LeRobot 0.4.4 that it opens the datasets that Burnish writes, and that Burnish opens the ones it writes.
#
#   scripts/check_lerobot.sh [FOLDER [DATASET …]]
#
# FOLDER gets a virtual environment of its own, about 2 GB (default: burnish-lerobot in the temporary folder), and is
# used again the next time. With data sets LeRobot opens these, and all their numbers are compared. LeRobot 0.4.4 is
# the last version for Python 3.11 and asks for an older torch than ours, hence the --no-deps.
set -euo pipefail

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
folder=${1:-${TMPDIR:-/tmp}/burnish-lerobot}
environment=$folder/venv
constraints=$repository/constraints.txt

if ! [ -e "$environment/.complete" ]; then
    mkdir -p "$folder"
    "${PYTHON:-python3}" -m venv "$environment"
    pip=("$environment/bin/pip" install --quiet --constraint "$constraints")
    "${pip[@]}" torch
    "${pip[@]}" --no-deps torchvision==0.28.0 torchcodec==0.13.0
    "${pip[@]}" 'datasets>=4,<5' 'huggingface-hub>=0.34.2,<0.36' 'av>=15,<16' jsonlines draccus==0.10.0 \
        'deepdiff<9' einops 'gymnasium>=1.1.1,<2' 'packaging<26' termcolor 'imageio[ffmpeg]' \
        'opencv-python-headless<4.13' accelerate pyarrow pandas jaxtyping pyyaml
    "${pip[@]}" --no-deps lerobot==0.4.4
    touch "$environment/.complete"
fi
"$environment/bin/pip" install --quiet --no-deps --editable "$repository"

# LeRobot decodes videos with torchcodec, which looks for FFmpeg's libraries by their plain names; PyAV brings them.
bundled=$("$environment/bin/python" -c 'import av, pathlib; print(pathlib.Path(av.__file__).parent.parent / "av.libs")')
mkdir -p "$folder/ffmpeg"
for library in "$bundled"/libav*.so.* "$bundled"/libsw*.so.*; do
    name=$(basename "$library")
    version=${name#*.so.}
    ln -sf "$library" "$folder/ffmpeg/${name%%-*}.so.${version%%.*}"
done

export LD_LIBRARY_PATH=$folder/ffmpeg:$bundled${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export HF_HUB_OFFLINE=1 HF_HOME=$folder/huggingface
exec "$environment/bin/python" "$repository/scripts/check_lerobot.py" "${@:2}"
