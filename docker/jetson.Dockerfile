# The board's side, JetPack 4.6.x (TensorRT 8.2.1, Python 3.6). It holds no code of ours: the bundle
# brings its own. On the board, with the base pulled from NVIDIA's registry and tagged as below:
#   docker build -f docker/jetson.Dockerfile -t edgedistill-board .
#   docker run --rm --runtime nvidia -v "$PWD/bundle:/bundle" edgedistill-board verify
# Never time in an emulated container.
ARG BASE=l4t-tensorrt:r8.2.1-runtime
FROM ${BASE}

# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends openssl python3-numpy python3-opencv \
 && rm -rf /var/lib/apt/lists/*

# The GPU's device files belong to the group video.
RUN useradd --create-home --uid 10001 --groups video board
USER 10001
WORKDIR /bundle
STOPSIGNAL SIGTERM
ENTRYPOINT ["python3", "-m", "jetson"]
CMD ["--help"]
