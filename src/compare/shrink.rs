//! Makes a script that shows a difference as short as it gets: delta debugging over its steps, then
//! simpler requests.

use std::sync::Arc;

use super::script::{Action, Call, Request, Script, Step};
use crate::proto::Acl;
use crate::proto::messages::CreateRequest;

/// The shortest script found for which `fails` is true. `fails` is asked `budget` times at most.
pub fn shrink(script: &Script, budget: usize, mut fails: impl FnMut(&Script) -> bool) -> Script {
    let mut search = Search { left: budget, fails: &mut fails };
    let mut best = script.clone();
    loop {
        let before = best.clone();
        search.fewer_steps(&mut best);
        search.simpler_steps(&mut best);
        if best == before || search.left == 0 {
            return best;
        }
    }
}

struct Search<'a> {
    left: usize,
    fails: &'a mut dyn FnMut(&Script) -> bool,
}

impl Search<'_> {
    fn fails(&mut self, steps: &[Step]) -> bool {
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        (self.fails)(&Script { steps: steps.to_vec() })
    }

    /// Drops runs of steps, in ever smaller pieces.
    fn fewer_steps(&mut self, best: &mut Script) {
        let mut size = best.steps.len().div_ceil(2);
        while size > 0 {
            // From the end: what stands behind the difference goes first.
            let mut end = best.steps.len();
            let mut has_dropped = false;
            while end > 0 {
                let from = end.saturating_sub(size);
                let mut steps = best.steps.clone();
                steps.drain(from..end);
                if !steps.is_empty() && self.fails(&steps) {
                    best.steps = steps;
                    has_dropped = true;
                }
                end = from;
            }
            if size == 1 && !has_dropped {
                break;
            }
            size = if size == 1 { 1 } else { size.div_ceil(2) };
        }
    }

    fn simpler_steps(&mut self, best: &mut Script) {
        for at in 0..best.steps.len() {
            while let Some(step) = best.steps.get(at) {
                let simpler = variants(step).into_iter().find(|variant| {
                    let mut steps = best.steps.clone();
                    if let Some(slot) = steps.get_mut(at) {
                        slot.clone_from(variant);
                    }
                    self.fails(&steps)
                });
                match (simpler, best.steps.get_mut(at)) {
                    (Some(simpler), Some(slot)) => *slot = simpler,
                    _ => break,
                }
            }
        }
    }
}

/// Simpler forms of a step, each of which is simpler than the step itself, so that the search ends.
fn variants(step: &Step) -> Vec<Step> {
    let Action::Send(call) = &step.action else { return Vec::new() };
    let mut calls = Vec::new();
    if call.is_joined {
        calls.push(Call { is_joined: false, ..call.clone() });
    }
    calls
        .extend(simpler(&call.request).into_iter().map(|request| Call { request, ..call.clone() }));
    calls.into_iter().map(|call| Step::new(&step.who, Action::Send(call))).collect()
}

fn simpler(request: &Request) -> Vec<Request> {
    let creates = |r: &CreateRequest, make: fn(CreateRequest) -> Request| {
        let mut found = Vec::new();
        if r.data.as_ref().is_none_or(|data| !data.is_empty()) {
            found.push(make(CreateRequest { data: Some(Arc::from([])), ..r.clone() }));
        }
        if r.acl != Acl::open_unsafe() {
            found.push(make(CreateRequest { acl: Acl::open_unsafe(), ..r.clone() }));
        }
        if r.flags & 2 != 0 && r.flags < 4 {
            found.push(make(CreateRequest { flags: r.flags & !2, ..r.clone() }));
        }
        found
    };
    match request {
        Request::Create(r) => creates(r, Request::Create),
        Request::Create2(r) => creates(r, Request::Create2),
        Request::CreateContainer(r) => creates(r, Request::CreateContainer),
        Request::SetData(r) if r.data.as_ref().is_none_or(|data| !data.is_empty()) => {
            let mut plain = r.clone();
            plain.data = Some(Arc::from([]));
            vec![Request::SetData(plain)]
        }
        Request::SetData(r) if r.version != -1 => {
            let mut plain = r.clone();
            plain.version = -1;
            vec![Request::SetData(plain)]
        }
        Request::Delete(r) if r.version != -1 => {
            let mut plain = r.clone();
            plain.version = -1;
            vec![Request::Delete(plain)]
        }
        Request::Multi(ops) => without_one(ops).into_iter().map(Request::Multi).collect(),
        Request::MultiRead(ops) => without_one(ops).into_iter().map(Request::MultiRead).collect(),
        Request::SetWatches2(at) | Request::SetWatches(at) => {
            let is_old = matches!(request, Request::SetWatches(_));
            let mut found = Vec::new();
            for (n, list) in at.lists.iter().enumerate() {
                for shorter in without_one(list) {
                    let mut at = at.clone();
                    if let Some(slot) = at.lists.get_mut(n) {
                        *slot = shorter;
                    }
                    found.push(if is_old {
                        Request::SetWatches(at)
                    } else {
                        Request::SetWatches2(at)
                    });
                }
            }
            found
        }
        _ => Vec::new(),
    }
}

fn without_one<T: Clone>(list: &[T]) -> Vec<Vec<T>> {
    (0..list.len())
        .map(|at| {
            let mut shorter = list.to_vec();
            shorter.remove(at);
            shorter
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::random::{Plan, sequence};

    #[test]
    fn what_matters_stays_and_nothing_else() {
        let mut script = sequence(5, Plan::default());
        let needle: Step =
            "s1 setData \"/t/needle\" \"data\" 3".parse().unwrap_or_else(|e| panic!("{e}"));
        script.steps.insert(100, needle);
        let mut asked = 0;
        let shrunk = shrink(&script, 5000, |script| {
            asked += 1;
            let has = |text: &str| script.to_string().contains(text);
            has("\"/t/needle\"") && has("s0 open")
        });
        let text = shrunk.to_string();
        assert_eq!(shrunk.steps.len(), 2, "{text}");
        assert!(text.contains("s1 setData \"/t/needle\" \"\" -1"), "{text}");
        assert!(asked < 500, "{asked}");
    }

    #[test]
    fn the_budget_is_kept() {
        let script = sequence(5, Plan::default());
        let mut asked = 0;
        shrink(&script, 7, |_| {
            asked += 1;
            true
        });
        assert!(asked <= 7);
    }
}
