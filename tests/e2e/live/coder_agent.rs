//! Coder's own agent, which hears of a change by dialing again. Here a peer that shares no code with the product.

use std::time::Instant;

use super::*;
use crate::peers::client::Client;

#[test]
fn it_fetches_a_change_after_its_session_was_ended() {
    let (world, first) = with_token();
    let dial = || Client::dial(&world.server, world.workspace.token());
    let agent = dial();
    assert_eq!(agent.secrets()[0].2, first);
    let changed = Instant::now();
    let value = change(&world, "new");
    wait_until("the end of the session", LONG, || !agent.is_open());
    assert!(changed.elapsed().as_millis() >= 900, "it is left alone until there was no change for a second");
    let again = dial();
    assert_eq!(again.secrets()[0].2, value);
    assert!(again.is_open());
}

#[test]
fn it_is_left_alone_where_the_administrator_says_so() {
    let world = World::builder().server(["--refresh-coder-agents=false"]).with(DEV);
    world.alice.secret("token", &["--env", "TOKEN", "--file", "~/token"]);
    let coder = Client::dial(&world.server, world.workspace.token());
    let _ = coder.secrets();
    let ours = ready(&world);
    let value = change(&world, "new");
    wait_arrived(&ours, &value);
    assert!(coder.is_open());
    assert_eq!(coder.secrets()[0].2, value);
}
