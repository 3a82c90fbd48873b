//! kazoo, the Python client, with its recipes. The stories are in `python/recipes.py`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use crate::support::server::targets;
use crate::{SHARED, run, skip};

/// The Python with kazoo, made at the first use.
pub fn python() -> Option<&'static Path> {
    static PYTHON: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let python = PYTHON.get_or_init(|| {
        let venv = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../interop-venv");
        let python = venv.join("bin/python");
        let has_kazoo = |python: &Path| {
            let mut command = Command::new(python);
            command.args(["-c", "import kazoo"]);
            python.exists() && run(&mut command, Duration::from_secs(30)).0
        };
        if !has_kazoo(&python) {
            let setup = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/setup.sh");
            let (done, output) =
                run(Command::new("sh").arg(setup).arg(&venv), Duration::from_secs(180));
            if !done || !has_kazoo(&python) {
                return Err(format!("setup.sh could not install it: {}", output.trim()));
            }
        }
        Ok(python)
    });
    match python {
        Ok(python) => Some(python),
        Err(why) => {
            skip("kazoo", why);
            None
        }
    }
}

fn story(name: &str) {
    let Some(python) = python() else { return };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/python/recipes.py");
    for &target in targets() {
        let connect_string = SHARED.server(target).connect_string();
        let mut command = Command::new(python);
        command.arg(&script).arg(connect_string).arg(name);
        let (done, output) = run(&mut command, Duration::from_secs(90));
        assert!(done, "{name} with {target}:\n{output}\n{}", SHARED.server(target).log_tail());
    }
}

macro_rules! stories {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            story(stringify!($name));
        }
    )*};
}

stories! {
    lock
    lock_passes_on_when_its_holder_dies
    semaphore
    election
    counter
    queue
    barrier
    party
    data_watch
    children_watch
    persistent_watches
    tree_cache
    transactions
    errors
    acl_and_auth
    ephemerals_and_session_loss
    reconnect_keeps_session_and_watches
    pipeline
    containers_and_ttl
    commands
    chroot
}
