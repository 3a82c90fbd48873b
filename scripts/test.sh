#!/usr/bin/env bash
# All tests with one command, on a fresh Debian-like machine too: installs what is missing (see
# scripts/setup.sh), then runs every test, those against the Java server and the Python client
# included.
#
#   scripts/test.sh [--quick] [--no-install] [--setup-only] [-- CARGO_TEST_ARGUMENT...]
#
# --quick       only what needs neither Java nor Python; such tests are skipped with a message
# --no-install  fail instead of installing what is missing
# --setup-only  install, say what was found, run nothing
#
# Environment: ZOOKEEPER_HOME names an unpacked Apache ZooKeeper (a directory with lib/*.jar);
# without it one beside the source tree or Debian's package is used. CARGO_TARGET_DIR as for cargo.
# ZABKEEPER_FUZZ_ITERATIONS makes the fuzz run longer.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/setup.sh
. scripts/setup.sh

quick='' setup_only=''
while [ "$#" -gt 0 ]; do
  case "$1" in
    --quick) quick=1 ;;
    --no-install) export ZABKEEPER_NO_INSTALL=1 ;;
    --setup-only) setup_only=1 ;;
    --)
      shift
      break
      ;;
    *)
      sed -n -E '2,/^set /{/^#/s/^# ?//p}' "$0" >&2
      exit 2
      ;;
  esac
  shift
done

target="${CARGO_TARGET_DIR:-$PWD/target}"
mkdir -p "$target"

ensure_compiler
ensure_rust
type -P python3 >/dev/null || apt_install python3 # The stand-in server of tests/scripts.
if [ -z "$quick" ]; then
  ensure_java
  ensure_kazoo "$target"
  ensure_zookeeper "$target"
  ensure_c_client
  export ZABKEEPER_REQUIRE_JAVA=1 ZABKEEPER_REQUIRE_INTEROP=1
  note "Java reference: $(zookeeper_version) in $ZOOKEEPER_HOME"
fi
note "$(rustc --version)"
if [ -n "$setup_only" ]; then
  exit 0
fi

# One binary after the other, each with as many threads as there are cores. --no-fail-fast: one
# run tells all that is broken.
log="$target/test.log"
status=0
cargo test --locked --no-fail-fast "$@" 2>&1 | tee "$log" || status=$?

# The sum of all binaries, since the last of them says little.
awk '/^test result: / { passed += $4; failed += $6; ignored += $8 }
  END { printf "\n%d passed, %d failed, %d skipped\n", passed, failed, ignored }' "$log"
exit "$status"
