//! What a process has used, from `/proc`.

use std::io;

/// `/proc/PID/stat` counts in hundredths of a second on every Linux of today (USER_HZ).
const NANOS_PER_TICK: u64 = 10_000_000;
/// Context switches are counted per thread; with more threads than this, reading them would
/// disturb what is measured.
const THREADS_READ_MAX: u64 = 2000;

/// A sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// User and system time, in steps of 10 ms.
    pub cpu_ns: u64,
    /// Resident memory.
    pub rss_kb: u64,
    /// The part of it that belongs to no file: a mapped log is in the page cache anyway.
    pub rss_anon_kb: u64,
    /// The highest resident memory so far.
    pub peak_rss_kb: u64,
    /// Threads.
    pub threads: u64,
    /// Context switches of the threads that live now; `None` with too many of them.
    pub context_switches: Option<u64>,
}

impl Usage {
    /// Of the process `pid`.
    pub fn of(pid: u32) -> io::Result<Usage> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let mut usage = Usage::parse(&stat, &status)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc/PID/stat"))?;
        if usage.threads <= THREADS_READ_MAX {
            usage.context_switches = context_switches(pid).ok();
        }
        Ok(usage)
    }

    /// Of several processes together; `None` of none.
    pub fn of_all(pids: &[u32]) -> io::Result<Option<Usage>> {
        let mut sum: Option<Usage> = None;
        for pid in pids {
            let usage = Usage::of(*pid)?;
            sum = Some(sum.map_or(usage, |sum| sum.plus(&usage)));
        }
        Ok(sum)
    }

    fn plus(self, other: &Usage) -> Usage {
        Usage {
            cpu_ns: self.cpu_ns + other.cpu_ns,
            rss_kb: self.rss_kb + other.rss_kb,
            rss_anon_kb: self.rss_anon_kb + other.rss_anon_kb,
            peak_rss_kb: self.peak_rss_kb + other.peak_rss_kb,
            threads: self.threads + other.threads,
            context_switches: self.context_switches.zip(other.context_switches).map(|(a, b)| a + b),
        }
    }

    fn parse(stat: &str, status: &str) -> Option<Usage> {
        // The command's name may hold spaces and parentheses: fields count from behind the last.
        let (_, fields) = stat.rsplit_once(')')?;
        let mut fields = fields.split_whitespace().skip(11);
        let user: u64 = fields.next()?.parse().ok()?;
        let system: u64 = fields.next()?.parse().ok()?;
        Some(Usage {
            cpu_ns: (user + system) * NANOS_PER_TICK,
            rss_kb: status_field(status, "VmRSS:").unwrap_or(0),
            rss_anon_kb: status_field(status, "RssAnon:").unwrap_or(0),
            peak_rss_kb: status_field(status, "VmHWM:").unwrap_or(0),
            threads: status_field(status, "Threads:").unwrap_or(0),
            context_switches: None,
        })
    }
}

/// CPU time of the calling thread; 0 on a kernel that does not tell.
pub fn thread_cpu_ns() -> u64 {
    std::fs::read_to_string("/proc/thread-self/schedstat")
        .ok()
        .and_then(|text| text.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

/// Memory that the machine has left for programs, from `/proc/meminfo`.
pub fn machine_available_kb() -> Option<u64> {
    status_field(&std::fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable:")
}

fn context_switches(pid: u32) -> io::Result<u64> {
    let mut sum = 0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end between the listing and the reading.
        let Ok(status) = std::fs::read_to_string(task?.path().join("status")) else { continue };
        sum += status_field(&status, "voluntary_ctxt_switches:").unwrap_or(0);
        sum += status_field(&status, "nonvoluntary_ctxt_switches:").unwrap_or(0);
    }
    Ok(sum)
}

fn status_field(status: &str, name: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix(name))?;
    value.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_any_name() {
        let stat = "42 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 300 20 0 0 20 0 5 0 1";
        let status = "Name:\tx\nVmHWM:\t  90 kB\nVmRSS:\t  80 kB\nRssAnon:\t 70 kB\nThreads:\t5\n";
        let usage = Usage::parse(stat, status).unwrap();
        assert_eq!(usage.cpu_ns, 3_200_000_000);
        assert_eq!((usage.rss_kb, usage.rss_anon_kb, usage.peak_rss_kb), (80, 70, 90));
        assert_eq!(usage.threads, 5);
        assert_eq!(Usage::parse("", ""), None);
    }

    #[test]
    fn this_process_can_be_read() {
        let usage = Usage::of(std::process::id()).unwrap();
        assert!(usage.rss_kb > 0 && usage.threads > 0);
        assert!(usage.context_switches.is_some());
    }
}
