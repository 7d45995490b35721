# `just lint` is what CI runs before the tests.
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings

test:
    cargo test --workspace --no-fail-fast

# Many seeds of the simulation; a failing one says how to replay it.
soak seeds="100000":
    SIM_SEEDS={{seeds}} cargo test --release --test sim -- --nocapture
    HOSTS_SEEDS={{seeds}} cargo test --release --test hosts -- --nocapture

bench:
    benches/run
