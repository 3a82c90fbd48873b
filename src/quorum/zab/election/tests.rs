//! Tests of the election: stories as text in `tests/golden/election`, and every order in which a
//! few servers can hear of each other.
//!
//! A story names the configuration and the server, then what happens to it (`<`) and what it does
//! (`>`). `ZABKEEPER_BLESS=1` writes the second kind of lines anew; read the difference.

use std::collections::{HashSet, VecDeque};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use proptest::prelude::*;

use super::*;
use crate::quorum::verifier::{Oracle, VerifierOptions};
use crate::quorum::zab::election_replies::{Standing, react};

#[derive(Default)]
struct Says(AtomicBool);

impl Oracle for Says {
    fn ask(&self) -> bool {
        self.0.load(Relaxed)
    }
}

fn config(lines: &[String], oracle: Option<Arc<dyn Oracle>>) -> Arc<QuorumVerifier> {
    let options = VerifierOptions { oracle, ..VerifierOptions::default() };
    Arc::new(QuorumVerifier::from_config_text(&lines.join("\n"), &options).unwrap())
}

fn servers(ids: &str, role: &str) -> Vec<String> {
    ids.split_whitespace().map(|id| format!("server.{id}=h:1:2:{role}")).collect()
}

/// The word behind `name`.
fn word<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.split_whitespace().skip_while(|word| *word != name).nth(1)
}

fn number(line: &str, name: &str) -> Option<i64> {
    word(line, name).map(|text| if text == "min" { i64::MIN } else { text.parse().unwrap() })
}

/// `(id, zxid, epoch)` with hexadecimal numbers, as `Vote` is printed; `min` is `Long.MIN_VALUE`.
fn vote(line: &str) -> Vote {
    let (_, inside) = line.split_once('(').unwrap();
    let (inside, _) = inside.split_once(')').unwrap();
    let hex = |text: &str| match text.trim() {
        "min" => i64::MIN,
        "-1" => -1,
        text => i64::from_str_radix(text, 16).unwrap(),
    };
    let parts: Vec<i64> = inside.split(',').map(hex).collect();
    let round = number(line, "round").unwrap();
    let version = i32::try_from(number(line, "version").unwrap_or(2)).unwrap();
    let state = line.split_whitespace().find_map(|word| match word {
        "LOOKING" => Some(ServerState::Looking),
        "FOLLOWING" => Some(ServerState::Following),
        "LEADING" => Some(ServerState::Leading),
        "OBSERVING" => Some(ServerState::Observing),
        _ => None,
    });
    Vote {
        version,
        state: state.unwrap(),
        ..Vote::looking(ServerId(parts[0]), Zxid(parts[1]), round, parts[2])
    }
}

/// The story with what really happens.
fn tell(story: &str) -> String {
    let mut told = String::new();
    let mut current = Vec::new();
    let mut next: Option<Vec<String>> = None;
    let oracle = Arc::new(Says::default());
    let mut has_oracle = false;
    let mut core = ElectionCore::new(ServerId(0), 200, 60_000);
    let mut history = core.history;
    for line in story.lines().filter(|line| !line.starts_with('>')) {
        told += &format!("{line}\n");
        let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
        match first {
            "#" | "" => continue,
            "voters" => current.extend(servers(rest, "participant")),
            "observers" => current.extend(servers(rest, "observer")),
            "next" => {
                next = Some(servers(rest, "participant"));
                next.as_mut().unwrap().push("version=1".to_owned());
            }
            "config" => current.push(rest.to_owned()),
            "oracle" => {
                has_oracle = true;
                oracle.0.store(rest == "yes", Relaxed);
            }
            "me" => {
                let max = number(rest, "max").unwrap_or(60_000);
                let id = rest.split_whitespace().next().unwrap().parse().unwrap();
                core = ElectionCore::new(ServerId(id), 200, i32::try_from(max).unwrap());
                history.last_logged_zxid = Zxid(number(rest, "zxid").unwrap());
                history.current_epoch = number(rest, "epoch").unwrap();
                if rest.ends_with("observer") {
                    history.learner_type = LearnerType::Observer;
                }
            }
            "<" => {
                let spoken = has_oracle.then(|| Arc::clone(&oracle) as Arc<dyn Oracle>);
                let view = ElectionView {
                    verifier: config(&current, spoken),
                    last_seen: next.as_ref().map(|next| config(next, None)),
                };
                let event = match rest {
                    "start" => ElectionEvent::Start(history),
                    "timeout" => ElectionEvent::Timeout { has_delivered: true },
                    _ if rest.starts_with("unreachable ") => {
                        let sid = number(rest, "unreachable").unwrap();
                        ElectionEvent::Unreachable(ServerId(sid))
                    }
                    "timeout, nothing was sent" => ElectionEvent::Timeout { has_delivered: false },
                    _ => {
                        let sid = rest.split_whitespace().next().unwrap().parse().unwrap();
                        ElectionEvent::Notification(Notification {
                            sid: ServerId(sid),
                            vote: vote(rest),
                        })
                    }
                };
                for action in core.on_event(&view, event) {
                    told += &format!("> {action}\n");
                }
            }
            _ => panic!("not understood: {line}"),
        }
    }
    told
}

#[test]
fn stories_go_as_they_are_told() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/election");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let story = std::fs::read_to_string(&path).unwrap();
        let told = tell(&story);
        if std::env::var_os("ZABKEEPER_BLESS").is_some() {
            std::fs::write(&path, told).unwrap();
        } else {
            assert_eq!(told, story, "{}", path.display());
        }
        count += 1;
    }
    assert!(count >= 10, "the stories were not found");
}

/// Several servers, and what is on the way between each two: the newest notification only, as the
/// queues of one message have it.
#[derive(Clone)]
struct World {
    view: ElectionView,
    nodes: Vec<Node>,
    /// By sender and receiver, both in the order of `nodes`.
    links: BTreeMap<(usize, usize), Vote>,
}

#[derive(Clone)]
struct Node {
    id: ServerId,
    core: ElectionCore,
    decided: Option<(Vote, ServerState)>,
}

impl World {
    /// Servers 1, 2, … with their `(zxid, epoch, rounds before)`; those of the bits of `java`, from
    /// the lowest, keep to Java's rules.
    fn new(histories: &[(i64, i64, i64)], java: usize) -> (Self, Vec<OwnHistory>) {
        let ids: Vec<String> = (1..=histories.len()).map(|id| id.to_string()).collect();
        let view = ElectionView {
            verifier: config(&servers(&ids.join(" "), "participant"), None),
            last_seen: None,
        };
        let nodes = histories.iter().enumerate().map(|(n, (_, _, clock))| {
            let id = ServerId(n as i64 + 1);
            let mut core = ElectionCore::new(id, 200, 60_000);
            core.clock = *clock;
            core.is_java = java >> n & 1 == 1;
            Node { id, core, decided: None }
        });
        let starts = histories.iter().map(|(zxid, epoch, _)| OwnHistory {
            learner_type: LearnerType::Participant,
            last_logged_zxid: Zxid(*zxid),
            current_epoch: *epoch,
        });
        (Self { view, nodes: nodes.collect(), links: BTreeMap::new() }, starts.collect())
    }

    fn happen(&mut self, at: usize, event: ElectionEvent) {
        let node = &mut self.nodes[at];
        for action in node.core.on_event(&self.view, event) {
            match action {
                ElectionAction::Broadcast(vote) => {
                    for to in (0..node_count(&self.view)).filter(|to| *to != at) {
                        self.links.insert((at, to), vote);
                    }
                }
                ElectionAction::Answer { sid, vote } => {
                    self.links.insert((at, sid.0 as usize - 1), vote);
                }
                ElectionAction::Decided { vote, state, answer } => {
                    node.decided = Some((vote, state));
                    // Java tells nobody, but those that ask.
                    for sid in answer.into_iter().filter(|_| !node.core.is_java) {
                        self.links.insert((at, sid.0 as usize - 1), Vote { state, ..vote });
                    }
                }
                ElectionAction::Reconnect | ElectionAction::SetTimer { .. } => {}
            }
        }
    }

    /// The notification on a link arrives, by the rules of the receiver.
    fn deliver(&mut self, from: usize, to: usize) {
        let vote = self.links.remove(&(from, to)).unwrap();
        let node = &self.nodes[to];
        let (current_vote, state) =
            node.decided.unwrap_or((node.core.own_vote(), ServerState::Looking));
        let standing =
            Standing { state, current_vote, clock: node.core.clock, proposal: node.core.proposal };
        let sid = self.nodes[from].id;
        let reaction = react(&self.view, &standing, sid, Some(vote.state), vote);
        if let Some(answer) = reaction.answer {
            self.links.insert((to, from), answer);
        }
        if let Some(notification) = reaction.deliver {
            self.happen(to, ElectionEvent::Notification(notification));
        }
    }

    /// Whether a server has decided and will stay: it follows one that leads, or has a quorum of
    /// followers. Else it gives up when nobody answers, and looks again.
    fn is_settled(&self, n: usize) -> bool {
        let node = &self.nodes[n];
        let Some((vote, _)) = node.decided else { return false };
        let for_it = |other: &&Node| other.decided.is_some_and(|(other, _)| other.id == vote.id);
        let leads = |other: &Node| other.id == vote.id && for_it(&other);
        self.nodes.iter().any(leads)
            && self.nodes.iter().filter(for_it).count() > self.nodes.len() / 2
    }

    /// What distinguishes two worlds.
    fn key(&self) -> String {
        let nodes = self.nodes.iter().map(|node| {
            let core = &node.core;
            (core.clock, core.proposal, &core.phase, &core.received, &core.out_of_election)
        });
        let decided: Vec<_> = self.nodes.iter().map(|node| node.decided).collect();
        format!("{:?} {decided:?} {:?}", nodes.collect::<Vec<_>>(), self.links)
    }
}

fn node_count(view: &ElectionView) -> usize {
    view.verifier.all_members().len()
}

/// Walks through every order of deliveries and starts. Time passes only when nothing is on the way,
/// which is what the waits are for; then everybody's timer runs out, in every order as well.
fn check_all_orders(histories: &[(i64, i64, i64)], java: usize, leader: i64) -> usize {
    let (world, starts) = World::new(histories, java);
    let all_waiting = (1usize << histories.len()) - 1;
    let mut open = VecDeque::from([(world, all_waiting)]);
    let mut seen = HashSet::new();
    let mut ends = 0;
    while let Some((world, waiting)) = open.pop_back() {
        let mut visit = |world: World, waiting: usize| {
            if seen.insert(format!("{waiting} {}", world.key())) {
                open.push_back((world, waiting));
            }
        };
        for (n, history) in starts.iter().enumerate().filter(|(n, _)| waiting >> n & 1 == 1) {
            let mut next = world.clone();
            next.happen(n, ElectionEvent::Start(*history));
            visit(next, waiting & !(1 << n));
        }
        for (from, to) in world.links.keys().copied() {
            if waiting >> to & 1 == 1 {
                continue; // What comes before the start waits in its queue.
            }
            let mut next = world.clone();
            next.deliver(from, to);
            visit(next, waiting);
        }
        if waiting != 0 || !world.links.is_empty() {
            continue;
        }
        let undecided: Vec<usize> =
            (0..world.nodes.len()).filter(|n| world.nodes[*n].decided.is_none()).collect();
        for n in &undecided {
            let mut next = world.clone();
            next.happen(*n, ElectionEvent::Timeout { has_delivered: true });
            visit(next, waiting);
        }
        if undecided.is_empty() {
            ends += 1;
            for node in &world.nodes {
                let (vote, state) = node.decided.unwrap();
                let expected =
                    if node.id.0 == leader { ServerState::Leading } else { ServerState::Following };
                assert_eq!((vote.id.0, state), (leader, expected), "{}", world.key());
            }
        }
    }
    assert!(ends > 0, "no order came to an end");
    seen.len()
}

#[test]
fn every_order_of_few_servers_elects_the_best() {
    check_all_orders(&[(7, 1, 0)], 0, 1);
    check_all_orders(&[(0, 0, 0), (0, 0, 0)], 0, 2);
    check_all_orders(&[(7, 1, 0), (5, 1, 4)], 0, 1);
    check_all_orders(&[(0, 0, 0), (0, 0, 0), (0, 0, 0)], 0, 3);
    check_all_orders(&[(5, 2, 0), (9, 1, 0), (9, 1, 0)], 0, 1);
    check_all_orders(&[(5, 1, 0), (9, 1, 3), (8, 1, 1)], 0, 2);
}

/// Nobody is left behind, in whatever order the votes come: no shortcut of ours takes a leader from
/// Java's servers that they would have waited for.
#[test]
fn every_order_among_javas_servers_elects_the_best() {
    for java in 1..4 {
        check_all_orders(&[(7, 1, 0), (5, 1, 4)], java, 1);
    }
    for java in [0b010, 0b101] {
        check_all_orders(&[(0, 0, 0), (0, 0, 0), (0, 0, 0)], java, 3);
        check_all_orders(&[(5, 1, 0), (9, 1, 3), (8, 1, 1)], java, 2);
    }
}

/// Four and five servers have too many orders for all of them: a random one, by the same rules.
fn check_random_order(histories: &[(i64, i64, i64)], java: usize, seed: u64) {
    let mut random = seed | 1;
    let mut below = |bound: usize| {
        // xorshift; the quality is good enough to choose an order.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 11) as usize % bound
    };
    let (mut world, starts) = World::new(histories, java);
    let mut waiting: Vec<usize> = (0..histories.len()).collect();
    for _ in 0..10_000 {
        let links: Vec<_> =
            world.links.keys().copied().filter(|(_, to)| !waiting.contains(to)).collect();
        let choice = below(links.len() + waiting.len() + 1);
        if let Some((from, to)) = links.get(choice) {
            world.deliver(*from, *to);
        } else if let Some(n) = waiting.get(choice - links.len()).copied() {
            waiting.retain(|other| *other != n);
            world.happen(n, ElectionEvent::Start(starts[n]));
        } else if links.is_empty() && waiting.is_empty() {
            let busy: Vec<usize> =
                (0..world.nodes.len()).filter(|n| !world.is_settled(*n)).collect();
            if busy.is_empty() {
                break;
            }
            let n = busy[below(busy.len())];
            if world.nodes[n].decided.take().is_some() {
                world.happen(n, ElectionEvent::Start(starts[n]));
            } else {
                world.happen(n, ElectionEvent::Timeout { has_delivered: true });
            }
        }
    }
    // Once some have started anew the best one may have come too late, but a quorum is never led by
    // somebody who knows less.
    let own = |n: usize| (histories[n].1, histories[n].0, n);
    let leader = world.nodes[0].decided.map(|(vote, _)| vote.id);
    for node in &world.nodes {
        let (vote, state) = node.decided.expect("everybody decides");
        assert_eq!(Some(vote.id), leader, "{histories:?} {seed}");
        assert_eq!(state == ServerState::Leading, node.id == vote.id, "{histories:?} {seed}");
        let chosen = own(vote.id.0 as usize - 1);
        let worse = (0..histories.len()).filter(|n| own(*n) <= chosen).count();
        assert!(worse > histories.len() / 2, "{histories:?} {seed}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn random_orders_of_more_servers_elect_a_good_one(
        histories in prop::collection::vec((0i64..3, 0i64..3, 0i64..4), 4..6),
        java in prop_oneof![Just(0usize), 0usize..32],
        seed in any::<u64>(),
    ) {
        check_random_order(&histories, java, seed);
    }

    /// Whatever is said to a server, it does not panic, its round does not go back while it looks,
    /// and it decides for a voter or goes on looking.
    #[test]
    fn nonsense_is_survived(
        events in prop::collection::vec((0i64..6, any_vote(), any::<bool>()), 0..40),
    ) {
        let (mut world, starts) = World::new(&[(5, 1, 0), (5, 1, 0), (5, 1, 0)], 0);
        world.happen(0, ElectionEvent::Start(starts[0]));
        for (sid, vote, is_timeout) in events {
            let event = if is_timeout {
                ElectionEvent::Timeout { has_delivered: sid > 2 }
            } else {
                ElectionEvent::Notification(Notification { sid: ServerId(sid), vote })
            };
            let before = world.nodes[0].core.clock;
            world.happen(0, event);
            let node = &world.nodes[0];
            if let Some((vote, _)) = node.decided {
                prop_assert!(world.view.is_voter(vote.id));
            } else {
                prop_assert!(node.core.clock >= before);
            }
        }
    }
}

fn any_vote() -> impl Strategy<Value = Vote> {
    let number = || prop_oneof![4 => -1i64..5, 1 => any::<i64>()];
    (number(), number(), number(), number(), 0..4, 0..3).prop_map(
        |(id, zxid, round, epoch, state, version)| Vote {
            version,
            state: ServerState::from_ordinal(state).unwrap(),
            ..Vote::looking(ServerId(id), Zxid(zxid), round, epoch)
        },
    )
}
