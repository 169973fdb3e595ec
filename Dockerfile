# The image of the tidegate command. `make image` makes the same on a machine without a container engine.
#
#   docker build -t tidegate:dev .

FROM rust:1.95-bookworm AS build
WORKDIR /tidegate
# All members, as Cargo reads the whole workspace; rust-toolchain.toml is for people (it asks for rustfmt and clippy).
COPY Cargo.toml Cargo.lock ./
COPY src src
COPY bench bench
COPY tests tests
# Without the embedded Kafka: it forgets everything, which nobody wants of an image.
RUN cargo build --locked --release -p tidegate --no-default-features

# The Debian release that the build ran on: its libc fits.
FROM debian:bookworm-slim
COPY --from=build /tidegate/target/release/tidegate /usr/bin/tidegate
USER 65532:65532
ENTRYPOINT ["/usr/bin/tidegate"]
