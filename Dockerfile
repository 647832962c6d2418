# The CPU-only deployment: Python, the toolkit's wheel with the model in it, what an HTTP server needs, and nothing else.
#
#     python -m pip wheel --no-deps --wheel-dir dist . && docker build -t reviews .
#     docker run --rm -p 127.0.0.1:8080:8080 reviews
#     echo "A quiet film that stays with you." | docker run --rm -i reviews filter

# A tag may be filled anew; to hold an image itself, append its digest: `docker buildx imagetools inspect python:3.13.18-slim-trixie`
# names it, and the line becomes FROM python:3.13.18-slim-trixie@sha256:…
FROM python:3.13.18-slim-trixie

# With --build-arg EXTRA=app, an image for `toolkit chat`.
ARG EXTRA=serve

# The requirements name the hash of every file that may be installed; pip's cache and the wheel itself do not stay in the image.
COPY requirements-${EXTRA}.txt /tmp/install/requirements.txt
COPY dist/*.whl /tmp/install/
RUN python -m pip install --no-cache-dir --no-compile --require-hashes -r /tmp/install/requirements.txt \
    && python -m pip install --no-cache-dir --no-compile --no-deps --no-index /tmp/install/*.whl \
    && rm -r /tmp/install \
    && useradd --create-home --uid 1000 reviewer \
    && install --directory --owner=reviewer --mode=0700 /home/reviewer/state

USER 1000:1000
WORKDIR /home/reviewer
# No model hub is asked for anything: the image serves the model that it carries.
ENV PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1 TOOLKIT_STATE=/home/reviewer/state

EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/health', timeout=5)"]
ENTRYPOINT ["toolkit"]
CMD ["serve", "--host", "0.0.0.0"]
