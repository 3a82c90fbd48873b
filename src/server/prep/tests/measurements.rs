//! What a request costs to prepare. Run with
//! `cargo test --release --lib -- --ignored --nocapture prep::tests::measurements`.

use std::hint::black_box;
use std::time::Instant;

use super::*;

const COUNT: usize = 200_000;

fn measure(name: &str, lag: usize, setup: usize, body: impl Fn(usize) -> RequestBody) {
    let mut server = Server::new(lag);
    for number in 0..setup {
        let _ = server.prepare(ALICE, &create(&format!("/node{number}"), 0));
    }
    let bodies: Vec<RequestBody> = (0..COUNT).map(body).collect();
    let mut spent = std::time::Duration::ZERO;
    for bodies in bodies.chunks(100) {
        let start = Instant::now();
        for body in bodies {
            let mut context = PrepContext {
                state: &mut server.state,
                tree: &server.tree,
                changes: &mut server.changes,
                sessions: &server.sessions,
                acl_policy: &server.acl_policy,
                metrics: &server.metrics,
                wall_ms: 1,
                elapsed_ms: 1,
            };
            let request = PrepRequest::new(ALICE, 1, body, &server.auth);
            let prepared = black_box(prepare(&mut context, &request));
            server.pending.extend(prepared.txn);
        }
        let zxid = server.state.last_zxid;
        server.changes.remove_applied(zxid);
        spent += start.elapsed();
        server.apply_all_but(0);
    }
    println!("{name}: {} ns", spent.as_nanos() / COUNT as u128);
}

#[test]
#[ignore = "a measurement: cargo test --release -- --ignored --nocapture measure"]
fn preparing() {
    let value: Buffer = Some([7_u8; 100][..].into());
    measure("create", 0, 0, |number| create(&format!("/created{number:010}"), 0));
    measure("create2 sequential", 0, 0, |_| RequestBody::Create2(create_request("/s-", 2)));
    measure("setData", 0, 100_000, |number| {
        let path = format!("/node{}", number * 7919 % 100_000);
        RequestBody::SetData(SetDataRequest { path, data: value.clone(), version: -1 })
    });
    measure("delete", 0, COUNT, |number| delete(&format!("/node{number}"), -1));
    measure("refused", 0, 10, |number| delete(&format!("/none{number}"), -1));
}
