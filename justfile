# Shortcuts; each is one command that also works without just.

# List the recipes
default:
    @just --list

# Build the release binary
build:
    cargo build --release --locked

# Run every test; arguments go to cargo test
test *args:
    ./test.sh {{ args }}

# Test what is below infra/; arguments as for infra/tests/run.sh
infra *args:
    infra/tests/run.sh {{ args }}

# Format the code
fmt:
    cargo fmt

# Lint the code, and the shell scripts where shellcheck is installed
lint:
    cargo clippy --locked --all-targets -- -D warnings
    if command -v shellcheck >/dev/null; then shellcheck .ci/run test.sh scripts/*.sh localstack/*.sh infra/*/*.sh; fi

# Check licences, sources and advisories of the dependencies (needs cargo-deny; `just ci` installs it)
deny:
    cargo deny --locked check

# Start LocalStack; arguments as for localstack.sh start
localstack *args:
    localstack/localstack.sh start {{ args }}

# Make the buckets on LocalStack and write demo events; arguments go to icepack demo
seed *args:
    localstack/seed.sh {{ args }}

# Try icepack on a directory, with no set-up: demo events, the plan, a pass, the result; arguments as for demo.sh
demo *args:
    ./demo.sh {{ args }}

# Everything a change must pass
ci:
    .ci/run
