//! Random stories: three clients, a handful of paths, every operation, one by one and in pipelines.
//! The same seed tells the same story, everywhere.

use zabkeeper::proto::messages::CreateTtlRequest;
use zabkeeper::proto::multi::MultiOp;
use zabkeeper::proto::{Acl, perms};

use super::both::SUPER_TOKEN;
use super::peer::{
    Peer, Story, create, op_check, op_children, op_create, op_create2, op_delete, op_get, op_set,
    text,
};

/// SplitMix64: the same story for the same seed, everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((x ^ (x >> 31)) % sides as u64) as usize
    }

    fn one_of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.roll(list.len())]
    }

    fn is_one_in(&mut self, sides: usize) -> bool {
        self.roll(sides) == 0
    }

    fn path(&mut self) -> &'static str {
        if self.is_one_in(30) {
            return self.one_of(&["/t/", "/t//a", "bad", "/t/a/.", ""]);
        }
        self.one_of(&[
            "/t",
            "/t/a",
            "/t/a",
            "/t/b",
            "/t/b",
            "/t/c",
            "/t/a/x",
            "/t/a/x",
            "/t/a/y",
            "/t/b/x",
            "/t/c/e",
            "/t/a/x/deep",
            "/t/b/s-0000000000",
        ])
    }

    fn version(&mut self) -> i32 {
        self.one_of(&[-1, -1, -1, 0, 0, 1, 2, 3])
    }

    fn flags(&mut self) -> i32 {
        self.one_of(&[0, 0, 0, 0, 1, 1, 2, 3, 4, 5])
    }

    fn data(&mut self) -> &'static str {
        self.one_of(&["", "x", "yy", "some data", "0123456789012345678901234567890123456789"])
    }

    fn acl(&mut self) -> Vec<Acl> {
        let anyone = |bits| vec![Acl::new(bits, "world", "anyone")];
        match self.roll(14) {
            0 => anyone(perms::READ),
            1 => anyone(perms::ALL & !perms::READ),
            2 => anyone(perms::ALL & !perms::WRITE),
            3 => anyone(perms::ALL & !perms::CREATE),
            4 => anyone(perms::ALL & !perms::DELETE),
            5 => vec![Acl::new(perms::ALL, "auth", "")],
            6 => vec![Acl::new(perms::ALL, "ip", "127.0.0.0/8")],
            7 => vec![Acl::new(perms::READ, "ip", "10.0.0.1"), Acl::new(31, "world", "anyone")],
            8 => vec![],
            _ => Acl::open_unsafe(),
        }
    }

    fn multi_op(&mut self) -> MultiOp {
        let path = self.path();
        match self.roll(8) {
            0 | 1 => op_create(path, self.one_of(&[0, 0, 1, 2, 3])),
            2 => op_create2(path, self.one_of(&[0, 2])),
            3 => op_delete(path, self.version()),
            4 => op_set(path, self.data(), self.version()),
            5 => op_check(path, self.version()),
            6 => MultiOp::CreateContainer(create(path, "c", Acl::open_unsafe(), 4)),
            _ => MultiOp::CreateTtl(CreateTtlRequest {
                path: path.into(),
                data: text("ttl"),
                acl: self.acl(),
                flags: 5,
                ttl: self.one_of(&[1_000_000, 0, -1]),
            }),
        }
    }
}

/// One step of a client.
fn step(dice: &mut Dice, peer: &mut Peer, zxid: i64) {
    let path = dice.path();
    match dice.roll(35) {
        0..=3 | 30..=34 => {
            let (data, acl, flags) = (dice.data(), dice.acl(), dice.flags());
            peer.create_acl(path, data, acl, flags);
        }
        4 => {
            peer.create2(path, dice.data(), dice.flags());
        }
        5 => {
            peer.create_container(path, 4);
        }
        6 => {
            let (flags, ttl) = (dice.one_of(&[5, 6, 5, 0]), dice.one_of(&[1_000_000, 5_000_000]));
            peer.create_ttl(path, flags, ttl);
        }
        7 | 8 => {
            let (data, version) = (dice.data(), dice.version());
            peer.set(path, data, version);
        }
        9..=11 => {
            let version = dice.version();
            peer.delete(path, version);
        }
        12 => {
            peer.exists(path, !dice.is_one_in(3));
        }
        13 | 14 => {
            peer.get(path, !dice.is_one_in(3));
        }
        15 => {
            peer.children(path, !dice.is_one_in(3));
        }
        16 => {
            peer.children2(path, !dice.is_one_in(3));
        }
        17 => {
            peer.get_acl(path);
        }
        // Not in a pipeline: Java checks what follows a setACL against the old ACL as long as the
        // new one is on its way to disk (its pending record keeps the old list). Here it is the new.
        18 if !peer.is_in_burst() => {
            let (acl, version) = (dice.acl(), dice.version());
            peer.set_acl(path, acl, version);
        }
        19 | 20 => {
            let ops = (0..dice.roll(6)).map(|_| dice.multi_op()).collect();
            peer.multi(ops);
        }
        21 => {
            let ops = (0..dice.roll(4))
                .map(|_| {
                    let path = dice.path();
                    if dice.is_one_in(2) { op_get(path) } else { op_children(path) }
                })
                .collect();
            peer.multi_read(ops);
        }
        22 | 23 => {
            peer.add_watch(path, dice.one_of(&[0, 1, 1]));
        }
        24 => {
            let kind = 1 + dice.roll(5) as i32;
            peer.remove_watches(path, kind);
        }
        25 => {
            let kind = 1 + dice.roll(5) as i32;
            peer.check_watches(path, kind);
        }
        26 => {
            // Relative to some moment of the story.
            let since = dice.roll(zxid.max(1) as usize + 2) as i64;
            let (one, two, three) = (dice.path(), dice.path(), dice.path());
            peer.set_watches2(since, [&[one], &[two], &[three], &[two], &[one]]);
        }
        27 => {
            peer.ephemerals(dice.one_of(&["/", "/t/a", "/t/b"]));
        }
        28 => {
            peer.all_children_number(path);
        }
        _ => {
            peer.delete_container(path);
        }
    }
}

/// Tells the story of `seed` below `/t`, which must exist.
pub fn tell(seed: u64, s: &Story<'_>) {
    let mut dice = Dice(seed);
    let mut setup = s.client("setup");
    for path in ["/t/a", "/t/b", "/t/c", "/t/a/x"] {
        setup.create(path, "", 0);
    }
    let mut peers = [s.client("a"), s.client("b"), s.client("c")];
    if dice.is_one_in(2) {
        peers[1].auth("digest", "b:pw");
    }
    if dice.is_one_in(4) {
        peers[2].auth("digest", SUPER_TOKEN);
    }
    let first = peers[0].ping().unwrap().header.zxid;
    let mut number = 0;
    for _ in 0..100 {
        let who = dice.roll(3);
        let now = peers[0].last_zxid().max(first);
        match dice.roll(60) {
            0 => {
                // The session goes on over another connection, without its watches.
                // The ping collects events that the end of the connection might lose.
                number += 1;
                peers[who].ping();
                let again = s.reattach(&format!("{who}-{number}"), &peers[who]);
                peers[who].expect_closed();
                peers[who] = again;
            }
            1 => {
                number += 1;
                peers[who].close();
                peers[who] = s.client(&format!("{who}-{number}"));
            }
            2..=8 => {
                // A pipeline in one write.
                peers[who].begin_burst();
                for _ in 0..2 + dice.roll(20) {
                    step(&mut dice, &mut peers[who], now - first);
                }
                peers[who].end_burst();
            }
            _ => step(&mut dice, &mut peers[who], now - first),
        }
    }
    for peer in &mut peers {
        peer.ping();
    }
}
