# The CPU-only deployment: Python, the toolkit's wheel with the model in it, and nothing else.
#
#     python -m pip wheel --no-deps --wheel-dir dist . && docker build -t reviews .
#     echo "A quiet film that stays with you." | docker run --rm -i reviews filter

# A tag may be filled anew; to hold an image itself, append its digest: `docker buildx imagetools inspect python:3.13.18-slim-trixie`
# names it, and the line becomes FROM python:3.13.18-slim-trixie@sha256:…
FROM python:3.13.18-slim-trixie

# requirements.txt names the hash of every file that may be installed; pip's cache and the wheel itself do not stay in the image.
COPY requirements.txt /tmp/install/
COPY dist/*.whl /tmp/install/
RUN python -m pip install --no-cache-dir --no-compile --require-hashes -r /tmp/install/requirements.txt \
    && python -m pip install --no-cache-dir --no-compile --no-deps --no-index /tmp/install/*.whl \
    && rm -r /tmp/install \
    && useradd --create-home --uid 1000 reviewer

USER reviewer
WORKDIR /home/reviewer
# No model hub is asked for anything: the image serves the model that it carries.
ENV PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1

HEALTHCHECK --interval=30s --timeout=10s --start-period=5s CMD ["toolkit", "doctor"]
ENTRYPOINT ["toolkit"]
CMD ["doctor"]
