#!/usr/bin/env bash
# Sourced by the other scripts: where the configuration, the logs and the binary are.
#
# The caller sets ZOOBINDIR (the real directory of the scripts) and passes its own arguments on by
# sourcing without any; a leading "--config DIR" is taken off them here, as Java's zkEnv.sh does.
#
# Read from the environment: ZOOCFGDIR, ZOOCFG, ZOO_LOG_DIR, SERVER_JVMFLAGS, JVMFLAGS,
# ZABKEEPER_BIN, ZABKEEPER_NO_INSTALL. Sourced when there: $ZOOCFGDIR/zookeeper-env.sh and
# $ZOOCFGDIR/java.env. The heap sizes (ZK_SERVER_HEAP, ZK_CLIENT_HEAP), CLASSPATH and JAVA_HOME
# have no meaning here.

ZOOBINDIR="${ZOOBINDIR:-/usr/bin}"
ZOOKEEPER_PREFIX="$(cd "$ZOOBINDIR/.." && pwd -P)"

if [ "$#" -gt 1 ] && [ "$1" = "--config" ]; then
  ZOOCFGDIR="$2"
  shift 2
fi

if [ -z "${ZOOCFGDIR:-}" ]; then
  if [ -e "$ZOOKEEPER_PREFIX/conf" ]; then
    ZOOCFGDIR="$ZOOKEEPER_PREFIX/conf"
  else
    ZOOCFGDIR="$ZOOKEEPER_PREFIX/etc/zookeeper"
  fi
fi

if [ -f "$ZOOCFGDIR/zookeeper-env.sh" ]; then
  # shellcheck disable=SC1091 # The operator's file.
  . "$ZOOCFGDIR/zookeeper-env.sh"
fi

ZOOCFG="${ZOOCFG:-zoo.cfg}"
# An absolute name stays as it is; Java's script would lose it.
case "$ZOOCFG" in
  /*) ;;
  *) ZOOCFG="$ZOOCFGDIR/$ZOOCFG" ;;
esac

if [ -f "$ZOOCFGDIR/java.env" ]; then
  # shellcheck disable=SC1091 # The operator's file.
  . "$ZOOCFGDIR/java.env"
fi

ZOO_LOG_DIR="${ZOO_LOG_DIR:-$ZOOKEEPER_PREFIX/logs}"

# The last value of a key in a configuration file, as Java's Properties would read it: "key=value",
# "key: value" or "key value", blanks around them dropped.
cfg_value() { # KEY FILE
  local key="${1//./\\.}"
  sed -n -E -e 's/\r$//' \
    -e "s/^[[:space:]]*${key}([[:space:]]*[=:]|[[:space:]])[[:space:]]*(.*)\$/\\2/p" "$2" |
    tail -n 1 | sed -E 's/[[:space:]]+$//'
}

# Sets ZABKEEPER_BIN to an executable, or leaves it empty: the variable itself, then the release
# build beside the scripts, then the search path.
find_binary() {
  if [ -n "${ZABKEEPER_BIN:-}" ]; then
    return 0
  fi
  if [ -x "$ZOOKEEPER_PREFIX/target/release/zabkeeper" ]; then
    ZABKEEPER_BIN="$ZOOKEEPER_PREFIX/target/release/zabkeeper"
  elif [ -x "$ZOOBINDIR/zabkeeper" ]; then
    ZABKEEPER_BIN="$ZOOBINDIR/zabkeeper"
  else
    ZABKEEPER_BIN="$(type -P zabkeeper || true)"
  fi
}

# As find_binary, but builds the binary from the source tree around the scripts when there is none.
# Everything it has to say goes to stderr.
require_binary() {
  find_binary
  if [ -n "$ZABKEEPER_BIN" ]; then
    if ! type -P "$ZABKEEPER_BIN" >/dev/null; then
      echo "Error: ZABKEEPER_BIN is set to $ZABKEEPER_BIN, which cannot be executed." >&2
      return 1
    fi
    return 0
  fi
  if [ ! -f "$ZOOKEEPER_PREFIX/Cargo.toml" ]; then
    echo "Error: no zabkeeper binary: set ZABKEEPER_BIN, or put it on the PATH." >&2
    return 1
  fi
  echo "No zabkeeper binary yet: building one (once, some minutes) ..." >&2
  # shellcheck source=scripts/setup.sh
  . "$ZOOBINDIR/setup.sh"
  ensure_compiler && ensure_rust || return 1
  (cd "$ZOOKEEPER_PREFIX" && cargo build --release --locked --bin zabkeeper) >&2 || return 1
  ZABKEEPER_BIN="${CARGO_TARGET_DIR:-$ZOOKEEPER_PREFIX/target}/release/zabkeeper"
}
