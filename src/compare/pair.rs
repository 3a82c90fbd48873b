//! Two servers that are driven side by side.

use std::thread;

use super::difference::{Compared, compare};
use super::driver::Driver;
use super::flavor::Flavor;
use super::launch::LaunchError;
use super::script::Script;
use super::side::Side;
use super::side_spec::SideSpec;
use super::stage::{Stage, StageError};
use super::transcript::Transcript;

/// Why two servers cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum PairError {
    /// A server does not start.
    #[error("{0}")]
    Launch(#[from] LaunchError),
    /// A server cannot be prepared.
    #[error("{name}: {error}")]
    Stage {
        /// Which side.
        name: String,
        /// What went wrong.
        #[source]
        error: StageError,
    },
}

/// Both sides, and the comparison's sessions with them.
pub struct Pair {
    sides: [Side; 2],
    stages: [Option<Stage>; 2],
    is_checked: bool,
}

impl Pair {
    /// Both servers, started at the same time where they have to be started.
    pub fn start(left: &SideSpec, right: &SideSpec, flavor: &Flavor) -> Result<Pair, PairError> {
        let (left, right) = both(|| left.side(&flavor.setup()), || right.side(&flavor.setup()));
        Ok(Pair::new(left?, right?))
    }

    /// From two sides.
    pub fn new(left: Side, right: Side) -> Pair {
        Pair { sides: [left, right], stages: [None, None], is_checked: false }
    }

    /// The sides.
    pub fn sides(&mut self) -> &mut [Side; 2] {
        &mut self.sides
    }

    /// Prepares both sides, takes the script's steps against both at the same time, reads the trees
    /// that it made and compares all of it.
    pub fn run(&mut self, script: &Script) -> Result<Compared, PairError> {
        let [(_, mut left), (_, mut right)] = self.transcripts(script)?;
        Ok(compare(script, &mut left, &mut right))
    }

    /// As [`Pair::run`], without the comparison: each side's name and what it sent.
    pub fn transcripts(&mut self, script: &Script) -> Result<[(String, Transcript); 2], PairError> {
        let is_checked = std::mem::replace(&mut self.is_checked, true);
        let [left, right] = &self.sides;
        let [left_stage, right_stage] = &mut self.stages;
        let (one, other) = both(
            || play(left, left_stage, script, is_checked),
            || play(right, right_stage, script, is_checked),
        );
        Ok([(left.name.clone(), one?), (right.name.clone(), other?)])
    }

    /// Begins anew with empty servers, where they were started here.
    pub fn renew(&mut self) -> Result<(), PairError> {
        self.stages = [None, None];
        let [left, right] = &mut self.sides;
        let (left, right) = both(|| left.renew(), || right.renew());
        left?;
        right?;
        Ok(())
    }
}

/// One side's part of a run.
pub fn play(
    side: &Side,
    kept: &mut Option<Stage>,
    script: &Script,
    is_checked: bool,
) -> Result<Transcript, PairError> {
    let failed = |error| PairError::Stage { name: side.name.clone(), error };
    // The session may have ended since the last script: that is no reason to fail.
    let mut stage = match kept.take() {
        Some(mut stage) => match stage.set() {
            Ok(()) => stage,
            Err(_) => prepared(side, true).map_err(failed)?,
        },
        None => prepared(side, is_checked).map_err(failed)?,
    };
    let mut driver = Driver::new(side.addr());
    driver.play(script);
    driver.collect();
    let dumped = stage.dump(driver.transcript_mut(), script.steps.len());
    let mut transcript = driver.finish();
    match dumped {
        Ok(()) => *kept = Some(stage),
        // A server that has ended is a difference, not a failure of the comparison.
        Err(error) => transcript.add_end(script.steps.len(), &error.to_string()),
    }
    Ok(transcript)
}

fn prepared(side: &Side, is_checked: bool) -> Result<Stage, StageError> {
    let mut stage = Stage::enter(side.addr())?;
    if !is_checked {
        stage.check_empty()?;
    }
    stage.set()?;
    Ok(stage)
}

/// Both at the same time.
fn both<A: Send, B: Send>(left: impl FnOnce() -> A + Send, right: impl FnOnce() -> B) -> (A, B) {
    thread::scope(|scope| {
        let left = scope.spawn(left);
        let right = right();
        match left.join() {
            Ok(left) => (left, right),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}
