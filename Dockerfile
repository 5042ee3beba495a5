# One image for heartbeats and workers; see docker-compose.yml. All that it installs is listed with
# hashes under requirements/, in the versions that the tests ran with.
FROM python:3.13-slim AS build

WORKDIR /golive
COPY requirements requirements
RUN pip install --no-cache-dir --require-hashes -r requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY golive_redis golive_redis
COPY cli cli
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheel .

FROM python:3.13-slim

WORKDIR /golive
COPY requirements requirements
RUN pip install --no-cache-dir --require-hashes -r requirements/image.txt
COPY --from=build /wheel /wheel
RUN pip install --no-cache-dir --no-deps --no-index /wheel/*.whl
COPY examples examples

# Any user id may write the state (a named volume copies this mode); the files in it are 0600.
RUN install -d -m 1777 state
ENV PYTHONUNBUFFERED=1
USER 1000:1000
CMD ["golive", "--help"]
