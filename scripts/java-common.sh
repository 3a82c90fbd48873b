# Where Java's server is; not to be run by itself. The caller has a function die.
# shellcheck shell=bash

# find_java OPTION...: sets java_command, which starts a server when a configuration file is added, with
# these options of the Java machine.
find_java() {
  local options=("$@") classpath
  if [ -n "${ZK_JAVA:-}" ]; then
    java_command=(env "JAVA_OPTS=${options[*]}" "$ZK_JAVA" server)
    return
  fi
  if [ -n "${ZOOKEEPER_HOME:-}" ]; then
    compgen -G "$ZOOKEEPER_HOME/lib/*.jar" >/dev/null || die "no jars in $ZOOKEEPER_HOME/lib"
    classpath="$ZOOKEEPER_HOME/conf:$ZOOKEEPER_HOME/lib/*"
    if [ -f "$ZOOKEEPER_HOME/log4j2.properties" ]; then
      options+=("-Dlog4j2.configurationFile=$ZOOKEEPER_HOME/log4j2.properties")
    fi
  elif [ -f /usr/share/java/zookeeper.jar ]; then
    classpath='/usr/share/java/*'
    if [ -f /etc/zookeeper/conf/environment ]; then
      # shellcheck disable=SC1091 # Debian's own settings, CLASSPATH among them.
      classpath=$(. /etc/zookeeper/conf/environment && echo "${CLASSPATH:-$classpath}")
    fi
  else
    die "no Java ZooKeeper: set ZK_JAVA or ZOOKEEPER_HOME"
  fi
  # Paths are digested in the encoding of the locale; zabkeeper always takes UTF-8.
  # shellcheck disable=SC2034 # For the caller.
  java_command=("${JAVA_HOME:+$JAVA_HOME/bin/}java" -Dfile.encoding=UTF-8 "${options[@]}"
    -cp "$classpath" org.apache.zookeeper.server.quorum.QuorumPeerMain)
}
