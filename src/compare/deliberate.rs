//! Where zabkeeper differs from Java on purpose: each with its reason, and a scenario that shows it.
//! Compare reports such a difference as deliberate, and never hides it.
//!
//! A matcher is as narrow as it can be: it looks at the request, at what Java answered and at what
//! zabkeeper answered. It does not know which side is which, so both ways round are tried; between
//! two zabkeepers, or two Javas, nothing is deliberate because nothing differs.

use std::fmt::Write;

use super::mask;
use super::report::{self, Report};
use super::script::{Action, Call, Request, Script, Step};
use super::transcript::{Entry, Seen, Transcript};
use crate::client::Reply;
use crate::jute::{Input, Jute};
use crate::proto::messages::{GetAclResponse, SyncResponse};
use crate::proto::{Acl, Code, OpCode};

/// A difference that is meant to be.
#[derive(Debug)]
pub struct Deliberate {
    /// A short name.
    pub id: &'static str,
    /// What Java does, what zabkeeper does, and why.
    pub reason: &'static str,
    /// Where it is documented.
    pub reference: &'static str,
    /// The scenario that shows it; empty when no client can see it in a script.
    pub scenario: &'static str,
    /// Whether that scenario shows it each time: not when Java's answer depends on timing.
    pub is_certain: bool,
    /// Zxids behind it are one higher in zabkeeper.
    pub skews_zxids: bool,
    matches: fn(&Case<'_>) -> bool,
}

/// What is to be explained.
pub struct Case<'a> {
    script: &'a Script,
    step: usize,
    java: Said<'a>,
    here: Said<'a>,
}

/// What one side sent during the step.
#[derive(Clone, Copy)]
pub struct Said<'a> {
    /// All that it sent.
    pub transcript: &'a Transcript,
    /// What it sent during the step.
    pub entries: &'a [&'a Entry],
}

const SEVEN: &str = "ARCHITECTURE.md, 7";

/// Documented, and shown by no script.
const UNSHOWN: Deliberate = Deliberate {
    id: "",
    reason: "",
    reference: SEVEN,
    scenario: "",
    is_certain: false,
    skews_zxids: false,
    matches: |_| false,
};

/// Shown by its scenario, each time.
const SHOWN: Deliberate = Deliberate { is_certain: true, ..UNSHOWN };

/// All of them.
pub const TABLE: &[Deliberate] = &[
    Deliberate {
        id: "undecodable-write-zxid",
        reason: "A write whose body cannot be decoded is answered with MARSHALLINGERROR by both. Java \
                 gives it the zxid of the transaction before it, so that one zxid means two things; \
                 here it has a zxid of its own, and all zxids behind it are one higher than Java's.",
        scenario: "malformed/undecodable_create",
        skews_zxids: true,
        matches: undecodable_write,
        ..SHOWN
    },
    Deliberate {
        id: "create-session-by-a-client",
        reason: "createSession (-10) sent by a client is accepted by Java: it answers with a second \
                 connect response and changes the session's timeout. Refused here like any unknown \
                 operation: UNIMPLEMENTED, and the connection ends.",
        scenario: "malformed/create_session_by_a_client",
        matches: create_session,
        ..SHOWN
    },
    Deliberate {
        id: "create-ttl-without-ttl-flag",
        reason: "createTTL with a flag that is no TTL flag and a negative ttl: Java logs the \
                 transaction, dies of it, and dies again at each start. Refused here with \
                 BADARGUMENTS.",
        scenario: "poison/create_ttl_without_a_ttl_flag",
        matches: poisonous_ttl,
        ..SHOWN
    },
    Deliberate {
        id: "null-lists",
        reason: "Null lists in setWatches are answered with MARSHALLINGERROR by Java, after a null \
                 pointer; they are taken as empty lists here. No client sends them.",
        scenario: "malformed/null_lists_and_paths",
        matches: |case| {
            matches!(case.any_op(), Some(OpCode::SetWatches | OpCode::SetWatches2))
                && case.has_null()
                && case.java.code() == Some(Code::MarshallingError)
                && case.here.code() == Some(Code::Ok)
        },
        ..SHOWN
    },
    Deliberate {
        id: "null-paths",
        reason: "A null path of setData or setACL is answered with BADARGUMENTS by Java, one of \
                 addWatch is accepted and watches nothing. All are undecodable here \
                 (MARSHALLINGERROR). No client sends them.",
        scenario: "malformed/null_lists_and_paths",
        matches: |case| {
            let expected = match case.any_op() {
                Some(OpCode::SetData | OpCode::SetAcl) => Code::BadArguments,
                Some(OpCode::AddWatch) => Code::Ok,
                _ => return false,
            };
            case.begins_with_null()
                && case.java.code() == Some(expected)
                && case.here.code() == Some(Code::MarshallingError)
        },
        ..SHOWN
    },
    Deliberate {
        id: "null-acl-in-multi",
        reason: "A null ACL list of a create inside a multi is answered with MARSHALLINGERROR and the \
                 zxid before by Java, and taken as an empty list (INVALIDACL) here. No client sends \
                 it.",
        scenario: "malformed/null_acl_in_a_multi",
        skews_zxids: true,
        matches: |case| {
            case.any_op() == Some(OpCode::Multi)
                && case.has_null()
                && case.java.code() == Some(Code::MarshallingError)
                && case.here.code() == Some(Code::Ok)
        },
        ..SHOWN
    },
    Deliberate {
        id: "surrogate-pairs",
        reason: "Characters beyond the BMP (in the echo of sync and in ids of ACLs) are written by \
                 Java as two surrogates of three bytes each, which Java itself cannot read back. \
                 Valid UTF-8 here.",
        scenario: "malformed/characters_beyond_the_bmp",
        matches: surrogates,
        ..SHOWN
    },
    Deliberate {
        id: "pipelined-behind-set-acl",
        reason: "Requests pipelined behind a setACL are checked by Java against the old list until \
                 the new one is applied, so that the answer depends on timing. They are checked \
                 against the new one here, which is the later of Java's two answers.",
        scenario: "pipelines/behind_a_set_acl",
        is_certain: false,
        matches: behind_set_acl,
        ..SHOWN
    },
    Deliberate {
        id: "version-minus-one",
        reason: "A version that reaches -1 stays -1 in Java, which matches every check \
                 (ZOOKEEPER-4743); it is skipped here. It takes 2^32 - 1 changes of a node to see it.",
        ..UNSHOWN
    },
    Deliberate {
        id: "torn-tail",
        reason: "A log whose last record is damaged stops Java's start; here it is a torn tail and is \
                 cut off. Damage before valid records stops both.",
        ..UNSHOWN
    },
    Deliberate {
        id: "digest-encoding",
        reason: "Java computes the tree's digest over paths in the encoding of the locale, and for \
                 containers made by other means than their own operation a wrong one; always UTF-8 \
                 and always computed from what is applied here. Java then counts digest mismatches.",
        ..UNSHOWN
    },
    Deliberate {
        id: "fuzzy-snapshot",
        reason: "Java's fuzzy snapshots hold nodes created after their beginning, may be one \
                 transaction ahead of their digest (whoever loads them counts one mismatch), and may \
                 refer to ACLs that they lack (ZOOKEEPER-4846); here such nodes are left to the log, and ACLs \
                 are written as of the snapshot's beginning.",
        ..UNSHOWN
    },
    Deliberate {
        id: "session-id-in-use",
        reason: "After the machine's clock began anew, Java may give a new session an id that is in \
                 use; it is skipped here.",
        ..UNSHOWN
    },
];

/// The difference that explains what came in a step, whichever side is Java.
pub fn explain(
    script: &Script,
    step: usize,
    left: Said<'_>,
    right: Said<'_>,
) -> Option<&'static Deliberate> {
    let ways = [(left, right), (right, left)];
    TABLE.iter().find(|one| {
        ways.iter()
            .any(|(java, here)| (one.matches)(&Case { script, step, java: *java, here: *here }))
    })
}

impl<'a> Case<'a> {
    fn request(&self) -> Option<&'a Request> {
        match &self.script.steps.get(self.step)?.action {
            Action::Send(Call { request, .. }) => Some(request),
            _ => None,
        }
    }

    /// The body of a request with bytes of its own, and its operation.
    fn any(&self) -> Option<(OpCode, &'a [u8])> {
        match self.request()? {
            Request::Any { op, body } => Some((OpCode::from_i32(*op)?, body)),
            _ => None,
        }
    }

    fn any_op(&self) -> Option<OpCode> {
        self.any().map(|(op, _)| op)
    }

    fn begins_with_null(&self) -> bool {
        self.any().is_some_and(|(_, body)| body.starts_with(&[0xff; 4]))
    }

    fn has_null(&self) -> bool {
        self.any().is_some_and(|(_, body)| body.windows(4).any(|window| window == [0xff; 4]))
    }
}

impl<'a> Said<'a> {
    /// Its only reply.
    fn reply(&self) -> Option<&'a Reply> {
        match self.entries {
            [Entry { seen: Seen::Packet(reply), .. }] => Some(reply),
            _ => None,
        }
    }

    fn code(&self) -> Option<Code> {
        self.reply()?.code()
    }

    fn offset(&self) -> Option<i64> {
        self.transcript.names.offset(self.reply()?.header.zxid)
    }

    fn has_ended(&self) -> bool {
        !self.entries.is_empty()
            && self.entries.iter().all(|entry| {
                matches!(entry.seen, Seen::Closed | Seen::Gone | Seen::Broken(_) | Seen::Nothing)
            })
    }
}

fn undecodable_write(case: &Case<'_>) -> bool {
    let is_write = case.any_op().is_some_and(|op| op.is_change() && op != OpCode::Multi);
    let (Some(java), Some(here)) = (case.java.reply(), case.here.reply()) else { return false };
    let code = Code::MarshallingError;
    is_write
        && (java.code(), here.code()) == (Some(code), Some(code))
        && java.header.xid == here.header.xid
        && java.body == here.body
        && case.java.offset().map(|zxid| zxid + 1) == case.here.offset()
}

/// The request, or the wait for the end of the connection behind it, which Java ends at once.
fn create_session(case: &Case<'_>) -> bool {
    let is_it = |step: &Step| match &step.action {
        Action::Send(Call { request, .. }) => request.op() == OpCode::CreateSession.as_i32(),
        _ => false,
    };
    let Some(step) = case.script.steps.get(case.step) else { return false };
    let before = case.step.checked_sub(1).and_then(|at| case.script.steps.get(at));
    let only = |said: &Said<'_>, seen: &Seen| matches!(said.entries, [one] if one.seen == *seen);
    match step.action {
        Action::Ends => {
            before.is_some_and(|before| is_it(before) && before.who == step.who)
                && only(&case.java, &Seen::Gone)
                && only(&case.here, &Seen::Closed)
        }
        _ => is_it(step) && case.here.code() == Some(Code::Unimplemented),
    }
}

/// The request, or whatever comes behind it: Java is dead.
fn poisonous_ttl(case: &Case<'_>) -> bool {
    let is_poison = |step: &Step| match &step.action {
        Action::Send(Call { request: Request::CreateTtl(r), .. }) => {
            (0..=4).contains(&r.flags) && r.ttl < 0
        }
        _ => false,
    };
    let so_far = case.script.steps.get(..=case.step).unwrap_or(&case.script.steps);
    let is_first = case.script.steps.get(case.step).is_some_and(is_poison);
    so_far.iter().any(is_poison)
        && case.java.has_ended()
        && (!is_first || case.here.code() == Some(Code::BadArguments))
}

fn surrogates(case: &Case<'_>) -> bool {
    let is_beyond = |text: &str| text.chars().any(|c| c.len_utf8() == 4);
    match case.request() {
        Some(Request::Sync(r)) => {
            // The same text once Java's surrogates are put together.
            let echo = |said: &Said<'_>| said.reply().map(|reply| reply.body.clone());
            let (Some(path), Some(java), Some(here)) =
                (&r.path, echo(&case.java), echo(&case.here))
            else {
                return false;
            };
            is_beyond(path)
                && SyncResponse::decode(&mut Input::unbounded(&here)).ok().and_then(|r| r.path)
                    == Some(path.clone())
                && java.get(4..) == Some(&cesu(path)[..])
        }
        Some(Request::GetAcl(_)) => {
            let (Some(java), Some(here)) = (case.java.reply(), case.here.reply()) else {
                return false;
            };
            let is_beyond = |list: &[Acl]| list.iter().any(|acl| is_beyond(&acl.id.id));
            here.decode::<GetAclResponse>().is_ok_and(|r| is_beyond(&r.acl))
                && java.body.len() > here.body.len()
        }
        _ => false,
    }
}

/// The encoding that Java's `BinaryOutputArchive.stringToByteBuffer` makes: each half of a surrogate
/// pair as three bytes.
fn cesu(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for unit in text.encode_utf16() {
        let [high, low] = unit.to_be_bytes();
        match unit {
            0..=0x7f => bytes.push(low),
            0x80..=0x7ff => bytes.extend([0xc0 | (unit >> 6) as u8, 0x80 | (low & 0x3f)]),
            _ => bytes.extend([
                0xe0 | (high >> 4),
                0x80 | ((unit >> 6) as u8 & 0x3f),
                0x80 | (low & 0x3f),
            ]),
        }
    }
    bytes
}

/// Java judged by the list that was there before a setACL of the same pipeline.
fn behind_set_acl(case: &Case<'_>) -> bool {
    let steps = case.script.steps.get(..case.step).unwrap_or_default();
    // The replies of a pipeline are noted at its last step.
    let pipeline = steps
        .iter()
        .rev()
        .take_while(|step| matches!(&step.action, Action::Send(Call { is_joined: true, .. })));
    let has_set_acl = pipeline
        .into_iter()
        .any(|step| matches!(&step.action, Action::Send(Call { request: Request::SetAcl(_), .. })));
    let mut differing = case.java.entries.iter().zip(case.here.entries).filter(|(java, here)| {
        mask::entry(case.java.transcript, java) != mask::entry(case.here.transcript, here)
    });
    has_set_acl
        && case.java.entries.len() == case.here.entries.len()
        && differing.all(|(java, here)| is_no_auth(java) != is_no_auth(here))
}

/// A refusal, also of a part of a multi.
fn is_no_auth(entry: &Entry) -> bool {
    let code = Code::NoAuth.as_i32();
    match &entry.seen {
        Seen::Packet(reply) if reply.header.err == code => true,
        Seen::Packet(reply) if entry.op == OpCode::Multi.as_i32() => {
            reply.body.windows(4).any(|window| window == code.to_be_bytes())
        }
        _ => false,
    }
}

/// Reports each deliberate difference whose scenario was run between Java and zabkeeper without
/// showing it: the table would be wrong then.
pub fn check_shown(report: &mut Report, scenarios: &[String]) {
    let is_java = |side: &report::SideInfo| side.name == "java";
    if is_java(&report.left) == is_java(&report.right) {
        return;
    }
    for one in TABLE.iter().filter(|one| one.is_certain) {
        let is_met = report.differences.iter().any(|difference| difference.deliberate == one.id);
        if is_met || !scenarios.iter().any(|name| name == one.scenario) {
            continue;
        }
        let (kind, name) = ("scenario", one.scenario.split('/').next().unwrap_or_default());
        report.differences.push(report::Difference {
            kind: kind.into(),
            name: name.into(),
            operation: format!(
                "{}: the deliberate difference {} does not show",
                one.scenario, one.id
            ),
            ..report::Difference::default()
        });
        if let Some(row) = report.rows.iter_mut().find(|row| row.kind == kind && row.name == name) {
            row.different += 1;
        }
    }
}

/// The table as text.
pub fn text() -> String {
    let mut text = String::new();
    for one in TABLE {
        let _ = writeln!(text, "{}", one.id);
        let scenario =
            if one.scenario.is_empty() { "none: no script shows it" } else { one.scenario };
        for (what, words) in [("", one.reason), ("see", one.reference), ("scenario", scenario)] {
            let _ = writeln!(text, "  {what:8} {words}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::compare::scenarios;

    #[test]
    fn every_entry_has_a_name_a_reason_and_a_scenario_that_there_is() {
        let all = scenarios::all().unwrap();
        let ids: HashSet<&str> = TABLE.iter().map(|one| one.id).collect();
        assert_eq!(ids.len(), TABLE.len());
        for one in TABLE {
            assert!(one.reason.len() > 20 && !one.reference.is_empty(), "{}", one.id);
            let exists = all.iter().any(|scenario| scenario.path() == one.scenario);
            assert!(one.scenario.is_empty() || exists, "{}: {}", one.id, one.scenario);
        }
    }

    #[test]
    fn javas_surrogates_are_written_as_java_writes_them() {
        assert_eq!(cesu("/é😀"), [0x2f, 0xc3, 0xa9, 0xed, 0xa0, 0xbd, 0xed, 0xb8, 0x80]);
    }
}
