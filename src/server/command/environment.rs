//! The words about the process and its settings: `conf`, `dirs`, `envi` (`ConfCommand`,
//! `DirsCommand`, `EnviCommand`).

use std::fmt::Write as _;
use std::path::Path;

use crate::server::version;
use crate::server::zookeeper_server::ZooKeeperServer;

/// `conf` (`ZooKeeperServer.dumpConf`).
pub fn conf(server: &ZooKeeperServer, out: &mut String) {
    let config = server.config();
    let (data, log) = (server.snap_dir(), server.log_dir());
    // Never fails on a String.
    let _ = write!(
        out,
        "clientPort={}\nsecureClientPort=-1\ndataDir={}\ndataDirSize={}\ndataLogDir={}\n\
         dataLogSize={}\ntickTime={}\nmaxClientCnxns={}\nminSessionTimeout={}\n\
         maxSessionTimeout={}\nclientPortListenBacklog={}\nserverId={}\n",
        server.client_port(),
        data.display(),
        directory_size(data),
        log.display(),
        directory_size(log),
        config.tick_time_ms,
        config.max_client_cnxns,
        config.min_session_timeout_ms,
        config.max_session_timeout_ms,
        config.client_port_listen_backlog,
        server.role().server_id(),
    );
    server.role().conf_lines(out);
}

/// `dirs`.
pub fn dirs(server: &ZooKeeperServer, out: &mut String) {
    let (data, log) = (directory_size(server.snap_dir()), directory_size(server.log_dir()));
    let _ = write!(out, "datadir_size: {data}\nlogdir_size: {log}\n"); // Never fails on a String.
}

/// Sum of the sizes of all files below; what vanishes meanwhile counts 0.
fn directory_size(directory: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(directory) else { return 0 };
    entries
        .filter_map(Result::ok)
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => directory_size(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}

/// `envi`: Java's keys, with what there is of them in a process without a JVM.
pub fn envi(out: &mut String) {
    out.push_str("Environment:\n");
    for (key, value) in environment() {
        let _ = writeln!(out, "{key}={value}"); // Never fails on a String.
    }
}

/// The entries of `envi`, also logged at the start (`Environment.list`).
pub fn environment() -> Vec<(&'static str, String)> {
    let none = || "<NA>".to_owned();
    let variable = |name: &str| std::env::var(name).unwrap_or_else(|_| none());
    let path = |path: std::io::Result<std::path::PathBuf>| {
        path.map_or_else(|_| none(), |path| path.display().to_string())
    };
    let uname = rustix::system::uname();
    let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    let memory = Memory::read();
    vec![
        ("zookeeper.version", version::full()),
        ("host.name", text(uname.nodename())),
        ("java.version", none()),
        ("java.vendor", none()),
        ("java.home", none()),
        ("java.class.path", path(std::env::current_exe())),
        ("java.library.path", none()),
        ("java.io.tmpdir", std::env::temp_dir().display().to_string()),
        ("java.compiler", none()),
        ("os.name", text(uname.sysname())),
        ("os.arch", java_arch()),
        ("os.version", text(uname.release())),
        ("user.name", variable("USER")),
        ("user.home", variable("HOME")),
        ("user.dir", path(std::env::current_dir())),
        ("os.memory.free", format!("{}MB", memory.free_kb / 1024)),
        ("os.memory.max", format!("{}MB", memory.total_kb / 1024)),
        ("os.memory.total", format!("{}MB", memory.total_kb / 1024)),
    ]
}

fn java_arch() -> String {
    match std::env::consts::ARCH {
        "x86_64" => "amd64".to_owned(),
        other => other.to_owned(),
    }
}

/// The machine's memory; there is no heap with a limit of its own.
#[derive(Default)]
struct Memory {
    free_kb: u64,
    total_kb: u64,
}

impl Memory {
    fn read() -> Memory {
        let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let value = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key))?;
            line.split_whitespace().next()?.parse().ok()
        };
        Memory {
            free_kb: value("MemAvailable:").unwrap_or(0),
            total_kb: value("MemTotal:").unwrap_or(0),
        }
    }
}
