# Burnish with everything that the README needs, drawing without a display through EGL.
#   docker build -t burnish .
#   docker run --rm -v "$PWD/runs:/burnish/runs" burnish demo
# For a GPU: --build-arg TORCH=torch (a CUDA build), and docker run --gpus all.
FROM python:3.11-slim-bookworm

# Debian's newest fixes are wanted.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends git make libegl1 libegl-mesa0 libgl1 libopengl0 libgl1-mesa-dri \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /burnish
ARG TORCH="torch==2.13.0"
# hadolint ignore=DL3013
RUN pip install --no-cache-dir "$TORCH"
COPY pyproject.toml README.md LICENSE ./
COPY burnish ./burnish
# hadolint ignore=DL3013
RUN pip install --no-cache-dir '.[metaworld,hdf5,zarr,export,serve,studio]'

ENV MUJOCO_GL=egl PYTHONUNBUFFERED=1
ENTRYPOINT ["burnish"]
CMD ["--help"]
