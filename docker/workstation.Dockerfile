# The workstation's side. From the repository's root:
#   docker build -f docker/workstation.Dockerfile -t edgedistill .
#   mkdir -p runs && docker run --rm --gpus all --user "$(id -u):$(id -g)" -e HOME=/tmp \
#     -v "$PWD/runs:/home/edge/runs" edgedistill quickstart
# Without a GPU leave out --gpus all.
FROM python:3.11-slim-bookworm

# opencv-python is linked with OpenGL and GLib; ssh and openssl are for boards.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends libgl1 libglib2.0-0 openssh-client openssl \
 && rm -rf /var/lib/apt/lists/*

COPY pyproject.toml constraints.txt README.md LICENSE /src/
COPY edgedistill /src/edgedistill
COPY jetson /src/jetson
COPY calibration /src/calibration
RUN pip install --no-cache-dir --constraint /src/constraints.txt '/src[quickstart,parquet,track]'

RUN useradd --create-home --uid 10001 edge && install -d -o edge /home/edge/runs
USER 10001
WORKDIR /home/edge
STOPSIGNAL SIGINT
ENTRYPOINT ["python", "-m", "edgedistill"]
CMD ["doctor"]
