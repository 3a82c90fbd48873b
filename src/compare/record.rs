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
    println!("Recording what comes to {} on its way to {} into {file}", proxy.addr(), args.to);
    println!("End with Ctrl-C.");
    // Whoever started this may wait for the address; a closed pipe is no reason to stop.
    let _ = std::io::stdout().flush();
    let _ = signals.forever().next();
    let recorded = proxy.shutdown().with_context(|| file.clone())?;
    println!("{file}: {} connections, {} frames", recorded.connections, recorded.frames);
    Ok(())
}
