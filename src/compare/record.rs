//! `zabkeeper compare record`.

use std::io::Write;

use anyhow::Context;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::args::RecordArgs;
use super::recording_proxy::RecordingProxy;

/// Records until SIGINT or SIGTERM. An error means that the file is not all of it.
pub fn run(args: &RecordArgs) -> anyhow::Result<()> {
    // First of all, so that no signal is lost.
    let mut signals = Signals::new([SIGTERM, SIGINT]).context("handling signals")?;
    let file = args.out.display().to_string();
    let proxy = RecordingProxy::start(&*args.listen, &*args.to, &args.out)
        .with_context(|| format!("recording from {} into {file}", args.listen))?;
    say(&format!(
        "Recording what comes to {} on its way to {} into {file}\nEnd with Ctrl-C.",
        proxy.addr(),
        args.to
    ));
    let _ = signals.forever().next();
    let recorded = proxy.shutdown().with_context(|| file.clone())?;
    say(&format!("{file}: {} connections, {} frames", recorded.connections, recorded.frames));
    Ok(())
}

/// Whoever started this may wait for the address; that nobody reads it is no reason to stop.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}
