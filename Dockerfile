FROM rust:1.95-slim-bookworm AS build
WORKDIR /build
# The dependencies have their own layer, which is rebuilt only when a manifest or Cargo.lock changes. Cargo needs a complete
# workspace, so all members get empty sources here; benches and soak keep them, since .dockerignore excludes their real ones.
COPY Cargo.toml Cargo.lock ./
COPY benches/Cargo.toml benches/
COPY soak/Cargo.toml soak/
RUN mkdir -p src benches/src soak/src \
    && touch src/lib.rs soak/src/record.rs \
    && echo 'fn main() {}' | tee src/main.rs >benches/src/main.rs \
    && cargo build --release --locked -p core-api \
    # The copied files keep their timestamps, which are older than the artefacts of the empty sources.
    && cargo clean --release -p core-api
COPY . .
RUN cargo build --release --locked -p core-api

FROM debian:bookworm-slim
LABEL org.opencontainers.image.title="core-api" \
      org.opencontainers.image.description="REST API server for virtual cards" \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /build/target/release/core-api /usr/local/bin/
ENV CORE_API__SERVER__LISTEN=0.0.0.0:8080
EXPOSE 8080
# A number, because Kubernetes' runAsNonRoot does not accept a name.
USER 10001:10001
STOPSIGNAL SIGTERM
# Bash sends the request, so that no client has to be installed. This checks liveness; the load balancer checks readiness.
HEALTHCHECK --interval=5s --timeout=3s --start-period=40s \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/${CORE_API__SERVER__LISTEN##*:} && printf 'GET /health/live HTTP/1.0\\r\\n\\r\\n' >&3 && read -t 2 -r _ status _ <&3 && [ \"$status\" = 200 ]"]
ENTRYPOINT ["core-api"]
CMD ["serve"]
