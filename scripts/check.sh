#!/usr/bin/env bash
# The checks that run nothing of the product: formatting, lints, documentation, dependencies, the
# fuzz package, the shell scripts. A warning is an error.
#
#   scripts/check.sh [--quick] [--no-install]
#
# --quick leaves out the documentation and the fuzz package.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/setup.sh
. scripts/setup.sh

quick=
for option in "$@"; do
  case "$option" in
    --quick) quick=1 ;;
    --no-install) export ZABKEEPER_NO_INSTALL=1 ;;
    *)
      echo "Usage: $0 [--quick] [--no-install]" >&2
      exit 2
      ;;
  esac
done

step() { printf '\n== %s\n' "$*"; }

ensure_compiler
ensure_rust

step "cargo fmt --check"
cargo fmt --check
step "cargo clippy"
cargo clippy --all-targets --locked -- -D warnings
if [ -z "$quick" ]; then
  step "cargo doc"
  # Written for those who work on it: private items are in, and links to them fine.
  RUSTDOCFLAGS="-D warnings -A rustdoc::private-intra-doc-links" \
    cargo doc --no-deps --document-private-items --locked
  if [ -f fuzz/Cargo.toml ]; then
    # The fuzz targets themselves run in tests/fuzz_smoke; this keeps their package compiling.
    step "cargo fmt, clippy: fuzz"
    cargo fmt --check --manifest-path fuzz/Cargo.toml
    CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target}/fuzz" \
      cargo clippy --manifest-path fuzz/Cargo.toml -- -D warnings
  fi
fi

# Tools that are used when they are there: building cargo-deny takes longer than all other checks.
# tests/tidy.rs checks the licences in any case.
if type -P cargo-deny >/dev/null; then
  step "cargo deny"
  cargo deny check licenses bans sources
  # The advisories come from the network: without it they cannot be known, with it they count.
  if cargo deny fetch db; then
    cargo deny check advisories
  else
    step "cargo deny: the advisories could not be fetched, left out"
  fi
else
  step "cargo deny: not installed, left out (cargo install cargo-deny)"
fi
if type -P shellcheck >/dev/null; then
  step "shellcheck"
  shellcheck -x scripts/*.sh .ci/run
else
  step "shellcheck: not installed, left out (apt-get install shellcheck)"
fi
