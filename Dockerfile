# One image for heartbeats and workers; see docker-compose.yml.
FROM python:3.13-slim

WORKDIR /golive
COPY pyproject.toml README.md LICENSE ./
COPY golive_redis golive_redis
COPY cli cli
RUN pip install --no-cache-dir .
COPY examples examples

# Any user id may write the state (a named volume copies this mode); the files in it are 0600.
RUN install -d -m 1777 state
ENV PYTHONUNBUFFERED=1
USER 1000:1000
CMD ["golive", "--help"]
