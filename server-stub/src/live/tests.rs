use futures_util::FutureExt;

use super::*;
use crate::store::Generation;

fn agent(number: u128) -> AgentIdentity {
    AgentIdentity {
        id: Uuid::from_u128(number),
        name: "main".into(),
        workspace_id: Uuid::from_u128(number + 1_000_000),
        workspace_name: "dev".into(),
        owner_id: Uuid::from_u128(number + 2_000_000),
        owner_name: "alice".into(),
        user_data: true,
        token_hash: [0; 32],
        is_revoked: false,
    }
}

fn generations(agents: impl IntoIterator<Item = u128>, number: i64) -> HashMap<Uuid, Current> {
    agents.into_iter().map(|agent| (Uuid::from_u128(agent), current(1, number))).collect()
}

fn current(epoch: i64, number: i64) -> Current {
    Current { generation: Generation { epoch, number }, is_revoked: false }
}

/// How many have news now.
fn told(followers: &mut [Follower]) -> usize {
    followers.iter_mut().filter_map(|follower| follower.changed().now_or_never()).count()
}

#[tokio::test(start_paused = true)]
async fn a_crowd_is_told_as_fast_as_it_fetches() {
    let live = Arc::new(Live::default());
    let mut followers: Vec<_> = (0..1000).map(|number| live.follow(&agent(number))).collect();
    let spreading = tokio::spawn({
        let live = Arc::clone(&live);
        async move { live.spread().await }
    });
    live.learn(&generations(0..1000, 1));
    settle().await;
    assert_eq!(told(&mut followers), AT_ONCE);
    for number in 0..30 {
        live.fetched(Uuid::from_u128(number));
    }
    settle().await;
    assert!(told(&mut followers) <= 30);
    // Those who do not fetch hold the others up for a second at most.
    let start = Instant::now();
    let mut count = 0;
    while count < 1000 - AT_ONCE - 30 {
        tokio::time::advance(Duration::from_millis(100)).await;
        settle().await;
        count += told(&mut followers);
        assert!(start.elapsed() < Duration::from_secs(20), "{count}");
    }
    spreading.abort();
}

#[tokio::test(start_paused = true)]
async fn a_few_are_told_at_once_and_old_news_is_none() {
    let live = Arc::new(Live::default());
    let mut followers: Vec<_> = (0..3).map(|number| live.follow(&agent(number))).collect();
    live.learn(&generations(0..2, 5));
    assert_eq!(told(&mut followers), 2);
    live.learn(&generations(0..3, 5));
    assert_eq!(told(&mut followers), 1);
    live.learn(&generations(0..3, 4));
    assert_eq!(told(&mut followers), 0);
    let restored = current(2, 1);
    live.learn(&HashMap::from([(Uuid::from_u128(0), restored)]));
    assert_eq!(followers[0].changed().now_or_never(), Some(restored));
}

#[tokio::test(start_paused = true)]
async fn a_session_is_ended_once_in_ten_seconds() {
    let live = Live::default();
    let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
    assert_eq!(live.refresh(one), None);
    assert_eq!(live.refresh(one), Some(REFRESH_INTERVAL));
    assert_eq!(live.refresh(two), None);
    tokio::time::advance(REFRESH_INTERVAL).await;
    assert_eq!(live.refresh(one), None);
}

async fn settle() {
    for _ in 0..5000 {
        tokio::task::yield_now().await;
    }
}
