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

# 50 hot upgrades of each tree; prints descriptors and memory.
soak-upgrades upgrades="50":
    UPGRADES={{upgrades}} cargo test --release --test it -- --nocapture upgrade::workers upgrade::every_source upgrade::what_crashes upgrade::what_runs upgrade::sockets upgrade::a_worker_of_another_user upgrade::a_follower

bench:
    benches/run
