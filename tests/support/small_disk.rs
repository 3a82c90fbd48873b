//! File systems of a few pages that fill up, grow and become read-only, for tests of full disks: a
//! tmpfs each, mounted in a mount namespace of its own that an ordinary user may have.
//!
//! A process holds the namespace; everybody else reaches the file system through that process'
//! `/proc/…/root`. Nothing is mounted where others see it, and whatever happens to the test process,
//! the end of its pipe ends the holder, and the file system with it.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use rustix::fs::statvfs;
use tempfile::TempDir;

/// With this variable at 1 tests fail where the machine has no namespaces (or no `strace`), instead of
/// being skipped.
pub const REQUIRE_VARIABLE: &str = "ZABKEEPER_REQUIRE_NAMESPACES";

/// Mounts with the options of the first line at `$1`, and again with those of each further one;
/// answers with a line each.
const HOLDER: &str = r#"
again=
while read -r options; do
  if error=$(mount -t tmpfs -o "$again$options" zabkeeper-test "$1" 2>&1); then echo done; else echo $error; fi
  again=remount,
done
"#;

/// A small file system. Dropping it ends it, and whoever still writes there gets errors.
pub struct SmallDisk {
    holder: Child,
    /// Options out, `done` or an error back.
    pipes: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
    path: PathBuf,
    _mount_point: TempDir,
}

impl SmallDisk {
    /// Whether the machine lets us; says once why not.
    pub fn is_possible() -> bool {
        static POSSIBLE: OnceLock<bool> = OnceLock::new();
        *POSSIBLE.get_or_init(|| is_allowed("no small disk", SmallDisk::try_new(1 << 20)))
    }

    /// A file system for this many bytes.
    pub fn new(bytes: u64) -> SmallDisk {
        SmallDisk::try_new(bytes).unwrap_or_else(|why| panic!("{why}"))
    }

    fn try_new(bytes: u64) -> Result<SmallDisk, String> {
        let mount_point =
            TempDir::with_prefix("zabkeeper-disk-").map_err(|error| error.to_string())?;
        let mut holder = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", HOLDER, "holder"])
            .arg(mount_point.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("unshare: {error}"))?;
        let pipes = (holder.stdin.take().unwrap(), BufReader::new(holder.stdout.take().unwrap()));
        let inside = mount_point.path().strip_prefix("/").map_err(|error| error.to_string())?;
        let path = Path::new("/proc").join(holder.id().to_string()).join("root").join(inside);
        let disk = SmallDisk { holder, pipes: Mutex::new(pipes), path, _mount_point: mount_point };
        disk.mount(&format!("size={bytes},mode=0777"))?;
        // Only the namespace has the mount.
        let has_size = statvfs(&disk.path)
            .map(|stat| stat.f_blocks * stat.f_frsize <= bytes.next_multiple_of(stat.f_frsize));
        match has_size {
            Ok(true) => Ok(disk),
            other => Err(format!("{} is not the file system: {other:?}", disk.path.display())),
        }
    }

    fn mount(&self, options: &str) -> Result<(), String> {
        let (commands, answers) = &mut *self.pipes.lock().unwrap();
        writeln!(commands, "{options}").map_err(|error| format!("no namespace: {error}"))?;
        let mut answer = String::new();
        answers.read_line(&mut answer).map_err(|error| error.to_string())?;
        match answer.trim() {
            "done" => Ok(()),
            "" => Err("no namespace: unshare has ended".to_owned()),
            error => Err(error.to_owned()),
        }
    }

    /// Its root directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Another size, writable; not less than what is used.
    pub fn resize(&self, bytes: u64) {
        self.mount(&format!("rw,size={bytes}")).unwrap_or_else(|error| panic!("{error}"));
    }

    /// Leaves room for this many bytes, while others may be writing.
    pub fn leave(&self, bytes: u64) {
        retry("shrinks", || {
            let stat = statvfs(&self.path).map_err(|error| error.to_string())?;
            let used = (stat.f_blocks - stat.f_bfree) * stat.f_frsize;
            self.mount(&format!("rw,size={}", used + bytes))
        });
    }

    /// No more writing; as soon as nobody has a file open for it.
    pub fn make_read_only(&self) {
        retry("becomes read-only", || self.mount("ro"));
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.holder.kill(); // It may have ended by itself.
        let _ = self.holder.wait();
    }
}

fn retry(what: &str, mut act: impl FnMut() -> Result<(), String>) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while let Err(error) = act() {
        assert!(Instant::now() < deadline, "the disk never {what}: {error}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// True if `tried` is no error; else says why the tests that need it are skipped, or fails if that is
/// asked for.
pub fn is_allowed<T>(what: &str, tried: Result<T, String>) -> bool {
    let Err(why) = tried else { return true };
    let required = std::env::var(REQUIRE_VARIABLE).is_ok_and(|value| value == "1");
    assert!(!required, "{REQUIRE_VARIABLE}=1, but {what}: {why}");
    eprintln!("{what} on this machine, its tests are skipped: {why}");
    false
}
