#!/usr/bin/env bash
# Sourced: functions that install what building and testing need on a Debian-like machine.
#
# Each ensure_* first looks whether the thing is there and does nothing then. Installing uses the
# distribution's packages (sudo only when not root) except for the Rust toolchain, which comes
# through rustup when the distribution's is missing or too old. ZABKEEPER_NO_INSTALL=1 forbids
# installing: what is missing is then named, and the function fails. Messages go to stderr.

setup_top="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"

note() { printf '%s\n' "zabkeeper setup: $*" >&2; }

installing_allowed() { # WHAT
  if [ -n "${ZABKEEPER_NO_INSTALL:-}" ]; then
    note "$1 is missing, and installing is forbidden (ZABKEEPER_NO_INSTALL or --no-install)."
    return 1
  fi
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif type -P sudo >/dev/null; then
    sudo -n "$@"
  else
    note "needs root for: $* (no sudo here)"
    return 1
  fi
}

apt_install() { # PACKAGE...
  installing_allowed "$*" || return 1
  if ! type -P apt-get >/dev/null; then
    note "this machine has no apt-get: please install the equivalent of: $*"
    return 1
  fi
  note "installing $*"
  if [ -z "${setup_apt_updated:-}" ]; then
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq </dev/null >&2 || true
    setup_apt_updated=1
  fi
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "$@" </dev/null >&2
}

# A C compiler and make: rustc links with cc, and jemalloc is built from its source.
ensure_compiler() {
  { type -P cc && type -P make; } >/dev/null || apt_install build-essential
}

rust_wanted() {
  sed -n -E 's/^rust-version *= *"([0-9.]+)"/\1/p' "$setup_top/Cargo.toml"
}

rust_is_recent() {
  local have wanted
  have="$(rustc --version 2>/dev/null | cut -d' ' -f2)"
  wanted="$(rust_wanted)"
  [ -n "$have" ] && [ "$(printf '%s\n' "$wanted" "$have" | sort -V | head -n 1)" = "$wanted" ]
}

# A toolchain not older than Cargo.toml's rust-version.
ensure_rust() {
  if ! type -P cargo >/dev/null && [ -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo" ]; then
    PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
    export PATH
  fi
  if rust_is_recent; then
    return 0
  fi
  installing_allowed "Rust $(rust_wanted) or later" || return 1
  if type -P rustup >/dev/null; then
    note "installing the stable Rust toolchain with rustup"
    rustup toolchain install stable --profile minimal -c rustfmt -c clippy </dev/null >&2 || return 1
  else
    type -P curl >/dev/null || apt_install curl ca-certificates || return 1
    note "installing Rust with rustup into ${CARGO_HOME:-$HOME/.cargo} (https://rustup.rs)"
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs |
      sh -s -- -y --no-modify-path --profile minimal -c rustfmt -c clippy >&2 || return 1
    PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
    export PATH
  fi
  if ! rust_is_recent; then
    export RUSTUP_TOOLCHAIN=stable
    rust_is_recent || { note "Rust is still older than $(rust_wanted)"; return 1; }
  fi
}

# A JDK: the tests run the Java server and client, and compile small Java programs.
ensure_java() {
  { type -P java && type -P javac; } >/dev/null || apt_install default-jdk-headless
}

# Python with kazoo, in the virtual environment that tests/interop looks for.
ensure_kazoo() { # TARGET_DIR
  local venv="$1/interop-venv"
  if "$venv/bin/python" -c 'import kazoo' 2>/dev/null; then
    return 0
  fi
  installing_allowed "the Python package kazoo" || return 1
  python3 -c 'import venv, ensurepip' 2>/dev/null || apt_install python3 python3-venv || return 1
  note "installing kazoo into $venv"
  rm -rf "$venv"
  sh "$setup_top/tests/interop/setup.sh" "$venv" </dev/null >&2
}

# The C client's command line, which is tested when it is there: not being able to install it is no
# failure.
ensure_c_client() {
  if [ -x /usr/bin/cli_mt ] || [ -x /usr/lib/zookeeper/bin/cli_mt ]; then
    return 0
  fi
  [ -n "${ZABKEEPER_NO_INSTALL:-}" ] || apt_install zookeeper-bin ||
    note "going on without the C client"
}

has_zookeeper_jars() { # DIRECTORY
  compgen -G "$1/lib/zookeeper-[0-9]*.jar" >/dev/null
}

# The version of the server in ZOOKEEPER_HOME, from the name of its jar.
zookeeper_version() {
  local jar
  for jar in "$ZOOKEEPER_HOME"/lib/zookeeper-[0-9]*.jar; do
    jar="${jar##*/zookeeper-}"
    echo "${jar%.jar}"
    return 0
  done
}

# The Java reference server. Sets ZOOKEEPER_HOME to a directory with lib/*.jar: the one given, else
# an unpacked release in or beside the source tree, else Debian's packages, whose jars are linked
# together under the target directory. These are 3.8: enough to exchange files and clients, while
# the tests compare answers with what 3.9.4 gave when they were recorded.
ensure_zookeeper() { # TARGET_DIR
  local candidate home="$1/java-zookeeper" jar
  if [ -n "${ZOOKEEPER_HOME:-}" ]; then
    if has_zookeeper_jars "$ZOOKEEPER_HOME"; then
      export ZOOKEEPER_HOME
      return 0
    fi
    note "ZOOKEEPER_HOME=$ZOOKEEPER_HOME has no lib/zookeeper-*.jar"
    return 1
  fi
  for candidate in "$setup_top"{,/..,/../*}/{apache-zookeeper-*-bin,java-zookeeper}; do
    if has_zookeeper_jars "$candidate"; then
      ZOOKEEPER_HOME="$(cd "$candidate" && pwd -P)"
      export ZOOKEEPER_HOME
      return 0
    fi
  done
  if [ ! -e /usr/share/java/zookeeper.jar ]; then
    apt_install libzookeeper-java || return 1
  fi
  mkdir -p "$home/lib" || return 1
  # Debian's zookeeper.jar names what it needs in its manifest; lines of a manifest are folded.
  # The server itself under its name with the version, as in a release.
  ln -sfn /usr/share/java/zookeeper-[0-9]*.jar "$home/lib/" || return 1
  for jar in $(
    python3 - <<'PYTHON'
import os, re, zipfile
with zipfile.ZipFile("/usr/share/java/zookeeper.jar") as jar:
    text = jar.read("META-INF/MANIFEST.MF").decode()
text = text.replace("\r\n", "\n").replace("\n ", "")
path = re.search(r"^Class-Path: (.*)$", text, re.M)
print(" ".join(os.path.basename(name) for name in path.group(1).split()) if path else "")
PYTHON
  ) zookeeper-jute.jar netty-all.jar netty.jar netty-codec.jar netty-resolver.jar \
    netty-transport-native-unix-common.jar netty-transport-classes-epoll.jar \
    slf4j-log4j12.jar slf4j-reload4j.jar log4j-1.2.jar jetty9-util-ajax.jar servlet-api-3.1.jar \
    servlet-api.jar guava.jar; do
    if [ -e "/usr/share/java/$jar" ]; then
      ln -sfn "/usr/share/java/$jar" "$home/lib/$jar" || return 1
    fi
  done
  ZOOKEEPER_HOME="$home"
  export ZOOKEEPER_HOME
  note "using Debian's ZooKeeper, linked together in $home"
}
