# The board's side, JetPack 4.6.1 and newer 4.6 (TensorRT 8.2.1, Python 3.6). It holds no code of ours: the bundle
# brings its own. On the board, with the base pulled from NVIDIA's registry and tagged as below:
#   docker build -f docker/jetson.Dockerfile -t edgedistill-board .
#   docker run --rm --runtime nvidia -v "$PWD/bundle:/bundle" \
#     -v /proc/device-tree:/proc/device-tree:ro -v /etc/nv_tegra_release:/etc/nv_tegra_release:ro \
#     edgedistill-board verify
# Both files say which board this is: without them an engine that was built outside is refused.
# Never time in an emulated container.
ARG BASE=l4t-tensorrt:r8.2.1-runtime
FROM ${BASE}

# JetPack's own OpenCV comes from NVIDIA's package source, which the base leaves out; Ubuntu's is 3.2.
ARG L4T=r32.7
ADD https://repo.download.nvidia.com/jetson/jetson-ota-public.asc /etc/apt/trusted.gpg.d/jetson-ota-public.asc
# hadolint ignore=DL3008
RUN chmod 644 /etc/apt/trusted.gpg.d/jetson-ota-public.asc \
 && apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates \
 && echo "deb https://repo.download.nvidia.com/jetson/common ${L4T} main" > /etc/apt/sources.list.d/nvidia-l4t-apt-source.list \
 && apt-get update \
 && apt-get install -y --no-install-recommends openssl python3-numpy libopencv-python \
 && rm -rf /var/lib/apt/lists/*

# The GPU's device files belong to the group video, on JetPack 6 also to render, whose number is the host's: there
# add --group-add "$(stat -c %g /dev/dri/renderD128)" to docker run.
RUN groupadd --force --system render \
 && useradd --create-home --uid 10001 --groups video,render board
USER 10001
WORKDIR /bundle
STOPSIGNAL SIGTERM
ENTRYPOINT ["python3", "-m", "edgedistill_device"]
CMD ["--help"]
