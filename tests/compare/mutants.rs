//! Broken servers are caught, and their fault is shown in less than ten steps. Here the fault is made
//! on the wire; `mutants/*.patch` make the same faults in the server itself, and
//! `scripts/compare-mutants.sh` builds each of them and has it caught.

use zabkeeper::compare::flavor::RANDOM;
use zabkeeper::compare::launch::{Implementation, Server};
use zabkeeper::compare::pair::Pair;
use zabkeeper::compare::random::{Plan, sequence};
use zabkeeper::compare::script::Script;
use zabkeeper::compare::shrink::shrink;
use zabkeeper::compare::side::Side;

use super::middleman::{Fault, stand_between};

/// The shortest script that tells a changed server from one that is as it should be.
fn caught(make: fn() -> Fault) -> Script {
    let binary = env!("CARGO_BIN_EXE_zabkeeper").into();
    let implementation = Implementation::Zabkeeper { binary };
    let [good, bad] = [(); 2].map(|()| Server::start(&implementation, &RANDOM.setup()).unwrap());
    let changed = stand_between(bad.addr(), make);
    let mut pair = Pair::new(Side::started("good", good), Side::at("changed", changed));
    let mut differs = |script: &Script| pair.run(script).unwrap().unexplained().is_some();
    for seed in 1..40 {
        let script = sequence(seed, Plan::default());
        if differs(&script) {
            let shrunk = shrink(&script, 400, differs);
            drop(bad);
            return shrunk;
        }
    }
    panic!("not caught");
}

fn err_of(frame: &[u8]) -> i32 {
    frame[12..16].try_into().map(i32::from_be_bytes).unwrap()
}

fn xid_of(frame: &[u8]) -> i32 {
    frame[..4].try_into().map(i32::from_be_bytes).unwrap()
}

#[test]
fn another_error_code_is_caught() {
    // NOTEMPTY as BADVERSION.
    let script = caught(|| {
        Box::new(|mut frame, frames| {
            if err_of(&frame) == -111 {
                frame[12..16].copy_from_slice(&(-103i32).to_be_bytes());
            }
            frames.push(frame);
        })
    });
    let text = script.to_string();
    assert!(script.steps.len() < 10, "{text}");
    assert!(text.contains(" delete "), "{text}");
}

#[test]
fn an_event_behind_the_reply_is_caught() {
    // An event is held back until the next frame has passed.
    let script = caught(|| {
        let mut held = Vec::new();
        Box::new(move |frame, frames| {
            if xid_of(&frame) == -1 {
                held.push(frame);
            } else {
                frames.push(frame);
                frames.append(&mut held);
            }
        })
    });
    assert!(script.steps.len() < 10, "{script}");
}

#[test]
fn a_stat_field_is_caught() {
    // 68 bytes behind the header are a stat alone; cversion is at 36.
    let script = caught(|| {
        Box::new(|mut frame, frames| {
            if frame.len() == 16 + 68 && err_of(&frame) == 0 && frame[16 + 36 + 3] == 3 {
                frame[16 + 36 + 3] = 4;
            }
            frames.push(frame);
        })
    });
    assert!(script.steps.len() < 10, "{script}");
}
