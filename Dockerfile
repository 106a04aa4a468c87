# Two images. `media`, the default, does all jobs. `slim` has no ffmpeg, and serves all queues but media.
#   docker build -t rowmill .
#   docker build -t rowmill:slim --target slim .
#   docker run -e DATABASE_URL=postgres://... -p 3000:3000 --read-only --tmpfs /tmp rowmill
FROM node:24-trixie-slim AS build
WORKDIR /app
COPY package.json package-lock.json tsconfig.json ./
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY .build .build
COPY worker worker
RUN npm run build

# What both images run.
FROM node:24-trixie-slim AS app
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --no-audit --no-fund
COPY worker/cli/rowmill.js worker/cli/
COPY migrations migrations
COPY sql sql
COPY --from=build /app/dist dist
# A checkout under umask 077 gives files that only root can read.
RUN chmod -R a+rX .
# A start that finds no Postgres, and is stopped, leaves its compiled code behind: later starts take half the CPU time.
# Node looks for it by user, version and path.
RUN mkdir /compiled && chown node /compiled
USER node
RUN NODE_COMPILE_CACHE=/compiled DATA_DIR=/tmp DATABASE_URL=postgres://127.0.0.1:1/none \
    timeout 20 node worker/cli/rowmill.js start || true
USER root
RUN test -n "$(ls /compiled)" && chown -R root /compiled && chmod -R a+rX /compiled

# tini is process 1, which must reap orphaned processes. /data is used by local storage only.
FROM node:24-trixie-slim AS base
RUN apt-get update \
 && apt-get install -y --no-install-recommends tini \
 && rm -rf /var/lib/apt/lists/* \
 && ln -s /app/worker/cli/rowmill.js /usr/local/bin/rowmill \
 && mkdir /data && chown node:node /data
WORKDIR /app
ENV NODE_ENV=production HOST=0.0.0.0 PORT=3000 DATA_DIR=/data NODE_COMPILE_CACHE=/compiled
EXPOSE 3000
STOPSIGNAL SIGTERM
HEALTHCHECK --start-period=60s --timeout=5s \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT}/health`).then(({ ok }) => process.exit(ok ? 0 : 1))"]
# rowmill sets what glibc reads once, when a process starts.
ENTRYPOINT ["tini", "--"]
CMD ["rowmill", "start"]

FROM base AS slim
ENV QUEUES=publish,notification,social,analytics,cleanup
COPY --from=app /app /app
COPY --from=app /compiled /compiled
USER node

# ffmpeg gets Debian's security updates. bubblewrap isolates it from files and the network, if the platform allows that.
FROM base AS media
RUN apt-get update \
 && apt-get install -y --no-install-recommends bubblewrap ffmpeg \
 && rm -rf /var/lib/apt/lists/*
COPY --from=app /app /app
COPY --from=app /compiled /compiled
USER node
