//! A network namespace for each server, with a cable that can be pulled: what is cut off here is cut
//! off as on real machines, by frames that do not arrive. No FIN, no RST, connections stay half open,
//! and the kernel tries again and again.
//!
//! A test runs itself a second time inside of namespaces that an ordinary user may have
//! ([`within`]); all bridges and cables are in there, nothing of the machine's own network is touched.
//!
//! ```text
//! server N in namespace nN    eth0 10.99.0.N    on one of the bridges b1, b2, …   other servers
//!                             eth1 10.98.N.1    to 10.98.N.254 of the test        clients
//! ```
//! Clients always reach every server: who is cut off from the others may still be asked to write.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use crate::support::small_disk::is_allowed;

/// Says that this process is the inner one.
const INSIDE_VARIABLE: &str = "ZABKEEPER_TEST_INSIDE_NAMESPACES";
/// An address that nobody has.
const NOBODY: &str = "02:00:00:00:00:fe";

/// Makes `$1` hosts.
const SETUP: &str = r#"
set -e
mount -t tmpfs tmpfs /run
mkdir /run/netns
ip link set lo up
for i in $(seq "$1"); do
  ip link add "b$i" type bridge
  ip link set "b$i" up
  ip netns add "n$i"
  ip link add "p$i" type veth peer name eth0 netns "n$i"
  ip link set "p$i" master b1 up
  ip link add "m$i" type veth peer name eth1 netns "n$i"
  ip addr add "10.98.$i.254/24" dev "m$i"
  ip link set "m$i" up
  ip -n "n$i" link set lo up
  ip -n "n$i" addr add "10.99.0.$i/24" dev eth0
  ip -n "n$i" link set eth0 up
  ip -n "n$i" addr add "10.98.$i.1/24" dev eth1
  ip -n "n$i" link set eth1 up
done
nsenter --net=/run/netns/n1 true
"#;

/// Runs `body` inside of namespaces of its own: the test of this name, `module::function`, is run
/// once more there. Without namespaces it is skipped, with a reason.
pub fn within(test: &str, body: impl FnOnce()) {
    if std::env::var_os(INSIDE_VARIABLE).is_some() {
        return body();
    }
    if !is_possible() {
        return;
    }
    let output = unshare(&std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE_VARIABLE, "1")
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    eprintln!("{out}\n{err}");
    assert!(output.status.success() && out.contains("1 passed"), "inside: {}", output.status);
}

fn is_possible() -> bool {
    static POSSIBLE: OnceLock<bool> = OnceLock::new();
    *POSSIBLE.get_or_init(|| {
        let mut setup = unshare(Path::new("sh"));
        setup.args(["-c", SETUP, "setup", "1"]);
        is_allowed("no networks of their own for servers", run(&mut setup))
    })
}

fn unshare(program: &Path) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "--net"]).arg(program);
    command
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    let error = String::from_utf8_lossy(&output.stderr);
    let error = error.split_whitespace().collect::<Vec<_>>().join(" ");
    if output.status.success() { Ok(()) } else { Err(format!("{}: {error}", output.status)) }
}

/// The network of an ensemble.
pub struct Hosts {
    count: usize,
}

/// What a server has to know of its own.
#[derive(Debug, Clone)]
pub struct Host {
    namespace: String,
    /// For the other servers.
    pub peer_ip: Ipv4Addr,
    /// For clients.
    pub client_ip: Ipv4Addr,
}

impl Hosts {
    /// The hosts 1 to `count`. Once in a process, which is one of [`within`].
    pub fn new(count: usize) -> Hosts {
        assert!(std::env::var_os(INSIDE_VARIABLE).is_some(), "inside of namespaces");
        run(Command::new("sh").args(["-c", SETUP, "setup", &count.to_string()])).unwrap();
        Hosts { count }
    }

    /// One of them.
    pub fn host(&self, id: usize) -> Host {
        Host {
            namespace: format!("n{id}"),
            peer_ip: peer_ip(id),
            client_ip: [10, 98, id as u8, 1].into(),
        }
    }

    /// Nothing arrives between hosts of different groups any more.
    pub fn separate(&self, groups: &[&[usize]]) {
        for (index, group) in groups.iter().enumerate() {
            for id in *group {
                ip(&format!("link set p{id} master b{}", index + 1));
            }
        }
    }

    /// What `from` sends to `to` goes to nobody.
    pub fn deafen(&self, from: usize, to: usize) {
        let to = peer_ip(to);
        ip(&format!("-n n{from} neigh replace {to} lladdr {NOBODY} nud permanent dev eth0"));
    }

    /// Everything arrives again.
    pub fn heal(&self) {
        for id in 1..=self.count {
            ip(&format!("link set p{id} master b1"));
            ip(&format!("-n n{id} neigh flush nud permanent dev eth0"));
        }
    }
}

impl Host {
    /// The same command, run there. It keeps the process id.
    pub fn enter(&self, command: &Command) -> Command {
        let mut enter = Command::new("nsenter");
        enter.arg(format!("--net=/run/netns/{}", self.namespace));
        enter.arg(command.get_program()).args(command.get_args());
        enter
    }
}

fn peer_ip(id: usize) -> Ipv4Addr {
    [10, 99, 0, id as u8].into()
}

fn ip(arguments: &str) {
    run(Command::new("ip").args(arguments.split(' '))).unwrap();
}
