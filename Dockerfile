# Roomcast in an image of its own files alone: `docker build -t roomcast .`, then
# `docker run --rm -p 3000:3000 -p 8080:8080 roomcast`, and the chat is at http://localhost:3000/.

# A Debian with Rust and a C compiler. Its glibc becomes that of the image.
ARG RUST=rust:1.95-slim-bookworm

FROM ${RUST} AS build
WORKDIR /source
COPY . .
# What `roomcast --version` says: the folder .git is not in here. `--build-arg ROOMCAST_COMMIT=$(git rev-parse HEAD)`
ARG ROOMCAST_COMMIT=unknown
# Dependencies stay compiled from one build to the next, also when a file of the server has changed.
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/source/target \
    ROOMCAST_COMMIT="$ROOMCAST_COMMIT" cargo build --release --locked --bin roomcast \
    && deploy/image/make-root target/release/roomcast /image

FROM scratch
LABEL org.opencontainers.image.title="roomcast" \
      org.opencontainers.image.description="A real-time room server: terminals and browsers in the same rooms" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
ARG ROOMCAST_COMMIT=unknown
LABEL org.opencontainers.image.revision="$ROOMCAST_COMMIT"
COPY --from=build /image /
# A number, so that Kubernetes sees that it is not root.
USER 65532:65532
# In a container the loopback addresses of the defaults would reach nobody.
ENV ROOMCAST_TCP=0.0.0.0:8080 ROOMCAST_HTTP=0.0.0.0:3000
EXPOSE 8080 3000
# A node of a cluster waits up to 30 s for NATS. The first success ends the start.
HEALTHCHECK --interval=10s --timeout=6s --start-period=40s CMD ["/usr/bin/roomcast", "health"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/bin/roomcast"]
