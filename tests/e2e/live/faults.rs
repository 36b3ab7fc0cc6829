//! The last value always arrives.

use std::time::Duration;

use tests::{Fault, Proxy, Seed};

use super::*;

#[test]
fn a_change_that_was_committed_before_the_server_died_arrives_from_its_successor() {
    let (world, _) = with_token();
    let proxy = Proxy::new(&world.server);
    let agent = delivered(world.env.agent(&proxy, &world.workspace).start());
    // The server stays alive, and cannot reach the agent: committed, not told.
    proxy.set(Fault::Stall);
    let value = change(&world, "committed");
    let World { env, mut server, alice, workspace } = world;
    server.kill();
    proxy.cut();
    let successor = env.server();
    proxy.point_to(&successor);
    proxy.set(Fault::None);
    wait_arrived(&agent, &value);
    drop((alice, workspace));
}

#[test]
fn a_connection_that_is_cut_or_refused_during_changes_brings_the_last_value() {
    let (world, _) = with_token();
    let proxy = Proxy::new(&world.server);
    let agent = delivered(world.env.agent(&proxy, &world.workspace).start());
    proxy.set(Fault::Refuse);
    proxy.cut();
    let _missed = change(&world, "missed");
    let last = change(&world, "last");
    proxy.set(Fault::None);
    wait_arrived(&agent, &last);
}

/// Nothing passes and nothing is closed: only the silence tells.
#[test]
#[ignore = "long: an agent gives a silent connection up after forty seconds"]
fn a_connection_that_hangs_is_given_up_and_the_change_arrives_by_the_next() {
    let (world, first) = with_token();
    let proxy = Proxy::new(&world.server);
    let agent = delivered(world.env.agent(&proxy, &world.workspace).start());
    let accepted = proxy.accepted();
    proxy.set(Fault::Stall);
    let value = change(&world, "hung");
    wait_until("another dial", 2 * LONG, || proxy.accepted() > accepted);
    assert_eq!(agent.read("token"), first);
    proxy.set(Fault::None);
    wait_arrived(&agent, &value);
}

#[test]
fn many_changes_while_the_connection_breaks_at_random() {
    many_changes(60);
}

#[test]
#[ignore = "long: a thousand changes take minutes"]
fn a_thousand_changes_while_the_connection_breaks_at_random() {
    many_changes(1000);
}

fn many_changes(count: usize) {
    let (world, _) = with_token();
    let proxy = Proxy::new(&world.server);
    let agent = delivered(world.env.agent(&proxy, &world.workspace).start());
    let mut seed = Seed::new();
    // One canary, in each of the values.
    let (canary, mut last) = (world.env.canary("changing"), String::new());
    let rest = world.alice.rest();
    for n in 0..count {
        last = format!("{canary} {n}");
        let body = serde_json::json!({ "value": last });
        let _ = rest.patch("/users/me/secrets/token", &body).expect(200);
        match seed.below(12) {
            0 => proxy.cut(),
            1 => {
                proxy.set(Fault::Refuse);
                proxy.cut();
                proxy.set(Fault::None);
            }
            2 => proxy.set(Fault::Delay(Duration::from_millis(3))),
            3 => proxy.set(Fault::None),
            _ => {}
        }
    }
    proxy.set(Fault::None);
    wait_arrived(&agent, &last);
    wait_reported(&world);
}
