FROM rust:1.95-slim-bookworm AS build
WORKDIR /build
# The dependencies have a layer of their own, which lasts until a manifest or Cargo.lock changes. The workspace has to be
# whole for cargo, so the sources of all members are empty ones here; benches and soak keep theirs.
COPY Cargo.toml Cargo.lock ./
COPY benches/Cargo.toml benches/
COPY soak/Cargo.toml soak/
RUN mkdir -p src benches/src soak/src \
    && touch src/lib.rs soak/src/record.rs \
    && echo 'fn main() {}' | tee src/main.rs >benches/src/main.rs \
    && cargo build --release --locked -p core-api \
    # Files are copied with the times they have, which are older than what was built of the empty ones.
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
# A number, for a cluster that wants nobody to be root believes no name.
USER 10001:10001
STOPSIGNAL SIGTERM
# Bash asks, so that no program is installed for it. Whether it is ready as well is the balancer's question.
HEALTHCHECK --interval=5s --timeout=3s --start-period=40s \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/${CORE_API__SERVER__LISTEN##*:} && printf 'GET /health/live HTTP/1.0\\r\\n\\r\\n' >&3 && read -t 2 -r _ status _ <&3 && [ \"$status\" = 200 ]"]
ENTRYPOINT ["core-api"]
CMD ["serve"]
