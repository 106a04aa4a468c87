# Rowmill, with all that its jobs need.
#   docker build -t rowmill .
#   docker run -e DATABASE_URL=postgres://... -p 3000:3000 rowmill
FROM node:24-trixie-slim AS build
WORKDIR /app
COPY package.json package-lock.json tsconfig.json ./
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY .build .build
COPY worker worker
RUN npm run build

FROM node:24-trixie-slim

# ffmpeg gets Debian's security updates. bubblewrap isolates it from files and the network, if the platform allows that.
# tini is process 1, which must reap orphaned processes.
RUN apt-get update \
 && apt-get install -y --no-install-recommends bubblewrap ffmpeg tini \
 && rm -rf /var/lib/apt/lists/*

WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --no-audit --no-fund && npm cache clean --force

COPY worker/cli/rowmill.js worker/cli/
COPY migrations migrations
COPY sql sql
COPY --from=build /app/dist dist
# A checkout under umask 077 gives files that only root can read.
RUN chmod -R a+rX worker dist migrations sql package.json \
 && ln -s /app/worker/cli/rowmill.js /usr/local/bin/rowmill && mkdir /data && chown node:node /data

# /data is used by local storage only.
ENV NODE_ENV=production HOST=0.0.0.0 PORT=3000 DATA_DIR=/data
USER node
EXPOSE 3000
HEALTHCHECK --start-period=60s --timeout=5s \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT}/health`).then(({ ok }) => process.exit(ok ? 0 : 1))"]

# rowmill sets what glibc reads once, when a process starts.
ENTRYPOINT ["tini", "--", "rowmill"]
CMD ["start"]
