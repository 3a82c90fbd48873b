//! Which paths are asked for most, from a sample of the requests (`RequestPathMetricsCollector`).
//! Off unless `pathStats.enabled` is set; the result goes to the log.
//!
//! Java collects paths and counts them once per slot; here they are counted as they come, which needs
//! no more memory than there are different paths, and a slot keeps a limited number of them.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use log::info;

use crate::common::config::ServerConfig;
use crate::common::sync::{Mutex, Rank};
use crate::common::thread::{self, OwnedThread};
use crate::proto::{Code, OpCode};
use crate::server::request_body::RequestBody;

/// The settings `pathStats.*`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PathStatsSettings {
    /// `enabled`.
    pub is_enabled: bool,
    /// `slotDuration`: seconds that are counted together.
    pub slot_duration_s: u32,
    /// `slotCapacity`: how many slots are kept.
    pub slot_capacity: usize,
    /// `maxDepth`: how many elements of a path are kept.
    pub max_depth: usize,
    /// `sampleRate`: the share of requests that are counted, 0 to 1.
    pub sample_rate: f32,
    /// `initialDelay`: minutes until the first report.
    pub initial_delay_min: u64,
    /// `delay`: minutes between reports.
    pub delay_min: u64,
    /// `topPathMax`: how many paths a report lists.
    pub top_path_max: usize,
}

impl Default for PathStatsSettings {
    fn default() -> Self {
        PathStatsSettings {
            is_enabled: false,
            slot_duration_s: 15,
            slot_capacity: 60,
            max_depth: 6,
            sample_rate: 0.1,
            initial_delay_min: 5,
            delay_min: 5,
            top_path_max: 20,
        }
    }
}

impl From<&ServerConfig> for PathStatsSettings {
    fn from(config: &ServerConfig) -> Self {
        PathStatsSettings {
            is_enabled: config.path_stats_enabled,
            // Negative numbers count as none; those that Java refuses do not get here.
            slot_duration_s: u32::try_from(config.path_stats_slot_duration_s).unwrap_or(0),
            slot_capacity: usize::try_from(config.path_stats_slot_capacity).unwrap_or(0),
            max_depth: usize::try_from(config.path_stats_max_depth).unwrap_or(0),
            sample_rate: config.path_stats_sample_rate as f32,
            initial_delay_min: minutes(config.path_stats_initial_delay_min),
            delay_min: minutes(config.path_stats_delay_min),
            top_path_max: usize::try_from(config.path_stats_top_path_max).unwrap_or(0),
        }
    }
}

/// At most some centuries, so that a time in the future can be computed.
fn minutes(minutes: i64) -> u64 {
    u64::try_from(minutes).unwrap_or(0).min(100_000_000)
}

/// Counts paths per operation.
#[derive(Debug)]
pub struct RequestPathMetricsCollector {
    settings: PathStatsSettings,
    queues: Vec<(OpCode, Mutex<PathStatsQueue>)>,
    /// Counted up for each request, then scrambled: random enough for a sample.
    sample: AtomicU64,
}

type Counts = HashMap<String, u64>;

#[derive(Debug, Default)]
struct PathStatsQueue {
    current: Counts,
    /// Oldest first.
    slots: VecDeque<Counts>,
}

/// Different paths of one slot; more are not counted.
const PATHS_MAX: usize = 100_000;

/// Reports in the log go this deep.
const REPORT_DEPTH: usize = 4;

/// The operations that are counted.
const COUNTED: [OpCode; 16] = [
    OpCode::Create,
    OpCode::Create2,
    OpCode::CreateContainer,
    OpCode::DeleteContainer,
    OpCode::Delete,
    OpCode::Exists,
    OpCode::SetData,
    OpCode::GetData,
    OpCode::GetAcl,
    OpCode::SetAcl,
    OpCode::GetChildren,
    OpCode::GetChildren2,
    OpCode::CheckWatches,
    OpCode::RemoveWatches,
    OpCode::SetWatches2,
    OpCode::Sync,
];

impl RequestPathMetricsCollector {
    /// Nothing counted yet.
    #[must_use]
    pub fn new(settings: PathStatsSettings) -> RequestPathMetricsCollector {
        info!("{settings:?}");
        let queue = |op| (op, Mutex::new(Rank::Leaf, PathStatsQueue::default()));
        let queues = COUNTED.map(queue).into();
        RequestPathMetricsCollector { settings, queues, sample: AtomicU64::new(0) }
    }

    /// Counts a request, if it is in the sample. Costs nothing while switched off.
    #[inline]
    pub fn register_request(&self, op: OpCode, path: &str) {
        if self.settings.is_enabled && self.is_in_sample() {
            self.count(op, path);
        }
    }

    /// Counts a read that was answered with `code`.
    pub fn register_read(&self, body: &RequestBody, code: Code) {
        let is_ok = code == Code::Ok;
        let path = match body {
            // Compat: these two are counted first, the others only if they succeed.
            RequestBody::GetData(request) => Some(&request.path),
            RequestBody::GetChildren(request) => Some(&request.path),
            RequestBody::Exists(request) if is_ok => Some(&request.path),
            RequestBody::GetAcl(request) if is_ok => Some(&request.path),
            RequestBody::GetChildren2(request) if is_ok => Some(&request.path),
            RequestBody::CheckWatches(request) if is_ok => Some(&request.path),
            RequestBody::RemoveWatches(request) if is_ok => Some(&request.path),
            RequestBody::Sync(request) if is_ok => request.path.as_ref(),
            _ => None,
        };
        if let (Some(op), Some(path)) = (body.op_code(), path) {
            self.register_request(op, path);
        }
    }

    /// Starts the thread that closes slots and reports; `None` while switched off.
    ///
    /// Errors: the kernel refused the thread.
    pub fn start(self: &Arc<Self>) -> io::Result<Option<PathStatsThread>> {
        if !self.settings.is_enabled {
            return Ok(None);
        }
        info!("Start the RequestPath collector");
        let (stop, stopped) = bounded::<()>(0);
        let collector = Arc::clone(self);
        let minutes = |minutes: u64| Duration::from_secs(minutes.saturating_mul(60));
        let slot = Duration::from_secs(u64::from(self.settings.slot_duration_s.max(1)));
        let body = move || {
            let mut next_slot = Instant::now() + slot;
            let mut next_report = Instant::now() + minutes(collector.settings.initial_delay_min);
            while stopped.recv_deadline(next_slot.min(next_report))
                == Err(RecvTimeoutError::Timeout)
            {
                let now = Instant::now();
                if now >= next_slot {
                    collector.close_slot();
                    next_slot = now + slot;
                }
                if now >= next_report {
                    info!(
                        "\nHere are the top Read paths:\n{}",
                        collector.top_paths(REPORT_DEPTH, is_read)
                    );
                    info!(
                        "\nHere are the top Write paths:\n{}",
                        collector.top_paths(REPORT_DEPTH, is_write)
                    );
                    next_report = now + minutes(collector.settings.delay_min.max(1));
                }
            }
        };
        let thread = thread::spawn("PathStatsTask", thread::STACK_BYTES, body)?;
        Ok(Some(PathStatsThread { _stop: stop, _thread: thread }))
    }

    /// The most frequent paths of one operation, by Java's name of it.
    #[must_use]
    pub fn dump_top_request_path(&self, op_name: &str, depth: usize) -> String {
        if depth < 1 {
            return String::new();
        }
        if !self.queues.iter().any(|(op, _)| op.name() == op_name) {
            return format!("Can not find path stats for type: {op_name}\n");
        }
        let top = self.top_paths(depth, |op| op.name() == op_name);
        format!("The top requests of type: {op_name}\n{top}")
    }

    /// The most frequent paths of reads.
    #[must_use]
    pub fn dump_top_read_paths(&self, depth: usize) -> String {
        format!("The top read requests are\n{}", self.top_paths(depth, is_read))
    }

    /// The most frequent paths of writes.
    #[must_use]
    pub fn dump_top_write_paths(&self, depth: usize) -> String {
        format!("The top write requests are\n{}", self.top_paths(depth, is_write))
    }

    /// The most frequent paths of all requests.
    #[must_use]
    pub fn dump_top_paths(&self, depth: usize) -> String {
        format!("The top requests are\n{}", self.top_paths(depth, |_| true))
    }

    fn count(&self, op: OpCode, path: &str) {
        let Some((_, queue)) = self.queues.iter().find(|(counted, _)| *counted == op) else {
            return;
        };
        let path = trim_path_depth(path, self.settings.max_depth);
        let current = &mut queue.lock().current;
        if let Some(count) = current.get_mut(&path) {
            *count += 1;
        } else if current.len() < PATHS_MAX {
            current.insert(path, 1);
        }
    }

    fn is_in_sample(&self) -> bool {
        // SplitMix64. Relaxed: a number drawn twice does no harm.
        let mut z = self.sample.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1u32 << 24) as f32 <= self.settings.sample_rate
    }

    fn close_slot(&self) {
        for (_, queue) in &self.queues {
            let mut queue = queue.lock();
            let slot = std::mem::take(&mut queue.current);
            queue.slots.push_back(slot);
            while queue.slots.len() > self.settings.slot_capacity {
                queue.slots.pop_front();
            }
        }
    }

    /// `path : count` lines, the most frequent first.
    fn top_paths(&self, depth: usize, is_wanted: impl Fn(OpCode) -> bool) -> String {
        let depth = depth.min(self.settings.max_depth);
        let mut sums = Counts::new();
        for (op, queue) in &self.queues {
            if is_wanted(*op) {
                let queue = queue.lock();
                for (path, count) in queue.slots.iter().chain([&queue.current]).flatten() {
                    *sums.entry(trim_path_depth(path, depth)).or_default() += count;
                }
            }
        }
        let mut sums: Vec<_> = sums.into_iter().collect();
        sums.sort_by(|(path, count), (other, than)| than.cmp(count).then_with(|| path.cmp(other)));
        let mut out = String::new();
        for (path, count) in sums.iter().take(self.settings.top_path_max) {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{path} : {count}");
        }
        out
    }
}

/// The running thread of a collector; dropping it stops and joins the thread.
#[derive(Debug)]
pub struct PathStatsThread {
    // Declared first, so dropped first: the thread waits for it.
    _stop: Sender<()>,
    _thread: OwnedThread,
}

/// The first `max_depth` elements of a path; "" for the root.
fn trim_path_depth(path: &str, max_depth: usize) -> String {
    let mut trimmed = String::with_capacity(path.len());
    for element in path.split('/').filter(|element| !element.is_empty()).take(max_depth) {
        trimmed.push('/');
        trimmed.push_str(element);
    }
    trimmed
}

fn is_write(op: OpCode) -> bool {
    matches!(
        op,
        OpCode::Sync
            | OpCode::Create
            | OpCode::Create2
            | OpCode::CreateContainer
            | OpCode::Delete
            | OpCode::DeleteContainer
            | OpCode::SetData
            | OpCode::SetAcl
    )
}

fn is_read(op: OpCode) -> bool {
    !is_write(op)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::messages::{ExistsRequest, GetDataRequest};

    fn collector(change: impl FnOnce(&mut PathStatsSettings)) -> RequestPathMetricsCollector {
        let mut settings = PathStatsSettings {
            is_enabled: true,
            sample_rate: 1.0,
            ..PathStatsSettings::default()
        };
        change(&mut settings);
        RequestPathMetricsCollector::new(settings)
    }

    #[test]
    fn paths_are_cut_at_their_depth() {
        let check = |path, depth, expected| assert_eq!(trim_path_depth(path, depth), expected);
        check("/a/b/c", 2, "/a/b");
        check("/a/b/c", 6, "/a/b/c");
        check("/", 6, "");
        check("//a//b/", 6, "/a/b");
        check("/a", 0, "");
    }

    #[test]
    fn most_frequent_paths_come_first() {
        let collector = collector(|settings| settings.top_path_max = 2);
        for path in ["/a/x", "/b", "/a/y", "/b", "/a/x", "/c"] {
            collector.register_request(OpCode::GetData, path);
        }
        collector.register_request(OpCode::Create, "/w");
        // Not an operation that is counted.
        collector.register_request(OpCode::Multi, "/m");
        assert_eq!(
            collector.dump_top_read_paths(2),
            "The top read requests are\n/a/x : 2\n/b : 2\n"
        );
        assert_eq!(collector.dump_top_read_paths(1), "The top read requests are\n/a : 3\n/b : 2\n");
        assert_eq!(collector.dump_top_write_paths(9), "The top write requests are\n/w : 1\n");
        assert_eq!(
            collector.dump_top_request_path("getData", 1),
            "The top requests of type: getData\n/a : 3\n/b : 2\n"
        );
        assert_eq!(
            collector.dump_top_request_path("multi", 1),
            "Can not find path stats for type: multi\n"
        );
        assert_eq!(collector.dump_top_request_path("multi", 0), "");
    }

    #[test]
    fn oldest_slots_are_forgotten() {
        let collector = collector(|settings| settings.slot_capacity = 1);
        let check = |expected: &str| {
            assert_eq!(collector.dump_top_paths(6), format!("The top requests are\n{expected}"));
        };
        collector.register_request(OpCode::Exists, "/a");
        collector.close_slot();
        collector.register_request(OpCode::Exists, "/b");
        check("/a : 1\n/b : 1\n");
        collector.close_slot();
        check("/b : 1\n");
    }

    #[test]
    fn sample_has_the_share_asked_for() {
        let check = |rate, low, high| {
            let collector = collector(|settings| settings.sample_rate = rate);
            let hits = (0..10_000).filter(|_| collector.is_in_sample()).count();
            assert!((low..=high).contains(&hits), "{hits} at {rate}");
        };
        check(1.0, 10_000, 10_000);
        check(0.1, 900, 1100);
        check(-1.0, 0, 0);
    }

    #[test]
    fn reads_are_counted_when_java_counts_them() {
        let collector = collector(|_| ());
        let path = || "/a".to_owned();
        let get_data = RequestBody::GetData(GetDataRequest { path: path(), watch: false });
        let exists = RequestBody::Exists(ExistsRequest { path: path(), watch: false });
        for body in [&get_data, &exists, &RequestBody::Ping] {
            collector.register_read(body, Code::Ok);
            collector.register_read(body, Code::NoNode);
        }
        let check = |op, expected: &str| {
            let seen = collector.dump_top_request_path(op, 9);
            assert_eq!(seen, format!("The top requests of type: {op}\n{expected}"));
        };
        check("getData", "/a : 2\n");
        check("exists", "/a : 1\n");
    }

    #[test]
    fn settings_are_those_of_the_configuration() {
        assert_eq!(PathStatsSettings::from(&ServerConfig::default()), PathStatsSettings::default());
        let config = ServerConfig {
            path_stats_initial_delay_min: -1,
            path_stats_delay_min: i64::MAX,
            path_stats_max_depth: -3,
            ..ServerConfig::default()
        };
        let settings = PathStatsSettings::from(&config);
        assert_eq!((settings.initial_delay_min, settings.max_depth), (0, 0));
        assert_eq!(settings.delay_min, 100_000_000);
    }

    #[test]
    fn collector_is_off_by_default() {
        let collector = Arc::new(RequestPathMetricsCollector::new(PathStatsSettings::default()));
        collector.register_request(OpCode::GetData, "/a");
        assert_eq!(collector.dump_top_paths(6), "The top requests are\n");
        assert!(collector.start().unwrap().is_none());
    }

    #[test]
    fn thread_ends_with_its_owner() {
        let collector = Arc::new(collector(|_| ()));
        drop(collector.start().unwrap().unwrap());
        assert_eq!(Arc::strong_count(&collector), 1);
    }
}
