use std::time::Duration;

use futures_util::FutureExt;

use super::*;

const SOURCE: Uuid = Uuid::from_u128(7);

fn outputs(lines: &[Log]) -> Vec<&str> {
    lines.iter().map(|log| log.output.as_str()).collect()
}

#[tokio::test]
async fn the_lifecycle_only_goes_forward_and_each_state_waits_for_its_acknowledgement() {
    let reporter = Reporter::default();
    for state in [State::Starting, State::Ready, State::Starting, State::Ready, State::ShuttingDown] {
        reporter.lifecycle(state);
    }
    let mut seen = Vec::new();
    while let Some(event) = reporter.next_event().now_or_never() {
        assert_eq!(reporter.next_event().await, event, "asking again gives the same");
        let Event::Lifecycle(lifecycle) = event else { panic!("no state: {event:?}") };
        seen.push(lifecycle.state());
        reporter.event_done();
    }
    assert_eq!(seen, [State::Starting, State::Ready, State::ShuttingDown]);
}

#[tokio::test]
async fn a_startup_that_was_not_sent_is_replaced_but_never_the_one_on_its_way() {
    let reporter = Reporter::default();
    for directory in ["/a", "/b", "/c"] {
        reporter.startup("v0.0.0".into(), directory.into());
    }
    let mut directories = Vec::new();
    while let Some(Event::Startup(startup)) = reporter.next_event().now_or_never() {
        directories.push(startup.expanded_directory);
        reporter.event_done();
    }
    assert_eq!(directories, ["/a", "/c"]);
}

#[tokio::test(start_paused = true)]
async fn lines_wait_a_second_for_others_unless_there_are_many_or_the_end_is_near() {
    let reporter = Reporter::default();
    reporter.line(SOURCE, Level::Info, b"one");
    let start = Instant::now();
    let (source, lines) = reporter.next_lines().await;
    assert_eq!((source, outputs(&lines)), (SOURCE, vec!["one"]));
    assert_eq!(start.elapsed().as_secs(), 1);
    reporter.lines_done(source, 1);

    reporter.line(SOURCE, Level::Info, &vec![b'x'; 100 * 1024]);
    reporter.line(SOURCE, Level::Info, &vec![b'y'; 100 * 1024]);
    let (_, lines) = reporter.next_lines().now_or_never().expect("due by size");
    assert_eq!(lines.len(), 1, "a batch is bounded");
    reporter.lines_done(SOURCE, 1);

    assert!(reporter.next_lines().now_or_never().is_none());
    let flushed = tokio::spawn({
        let reporter = reporter.clone();
        async move { reporter.flushed().await }
    });
    tokio::task::yield_now().await;
    let (_, lines) = reporter.next_lines().now_or_never().expect("due for the flush");
    assert!(!flushed.is_finished());
    reporter.lines_done(SOURCE, lines.len());
    tokio::time::timeout(Duration::from_secs(1), flushed).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_finds_no_room_is_counted_and_the_gap_is_told() {
    let reporter = Reporter::default();
    for _ in 0..40 {
        reporter.line(SOURCE, Level::Info, &vec![b'x'; 64 * 1024]);
    }
    let mut sent = Vec::new();
    while let Ok((source, lines)) = tokio::time::timeout(Duration::from_secs(5), reporter.next_lines()).await {
        reporter.lines_done(source, lines.len());
        sent.extend(lines);
    }
    let told = sent.iter().position(|log| log.level() == Level::Warn).expect("a line about the gap");
    assert_eq!(
        sent[told].output,
        format!("({} lines were not sent: too many at once; they are in the local log file)", 40 - (sent.len() - 1))
    );
}

#[tokio::test(start_paused = true)]
async fn bytes_no_database_takes_are_replaced() {
    let reporter = Reporter::default();
    reporter.line(SOURCE, Level::Error, b"a\0b\xffc");
    let (_, lines) = reporter.next_lines().await;
    assert_eq!(outputs(&lines), ["a\u{fffd}b\u{fffd}c"]);
    assert_eq!(lines[0].level(), Level::Error);
}

#[tokio::test]
async fn after_the_limit_of_the_server_nothing_is_queued_any_more() {
    let reporter = Reporter::default();
    reporter.line(SOURCE, Level::Info, b"one");
    reporter.lines_refused();
    reporter.line(SOURCE, Level::Info, b"two");
    reporter.flushed().await;
}

#[tokio::test(start_paused = true)]
async fn a_script_that_floods_its_log_neither_delays_nor_displaces_the_lines_of_others() {
    let reporter = Reporter::default();
    let [flood, other] = [1, 2].map(Uuid::from_u128);
    let long = vec![b'x'; 16 * 1024];
    let fill = || (0..100).for_each(|_| reporter.line(flood, Level::Info, &long));
    fill();
    for number in 0..10 {
        reporter.line(other, Level::Info, format!("line {number}").as_bytes());
    }
    let mut seen = Vec::new();
    for _ in 0..2 {
        let (source, lines) = reporter.next_lines().await;
        // It goes on while they are sent.
        fill();
        reporter.lines_done(source, lines.len());
        if source == other {
            seen.extend(lines.into_iter().map(|log| log.output));
        }
    }
    assert_eq!(seen, (0..10).map(|number| format!("line {number}")).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn lines_that_are_on_their_way_stay_in_front() {
    let reporter = Reporter::default();
    let [flood, other] = [1, 2].map(Uuid::from_u128);
    let line = |number: usize| [" ".repeat(200_000), number.to_string()].concat().into_bytes();
    (0..5).for_each(|number| reporter.line(flood, Level::Info, &line(number)));
    let (source, sent) = reporter.next_lines().await;
    (0..5).for_each(|number| reporter.line(other, Level::Info, &line(number)));
    reporter.lines_done(source, sent.len());
    let mut next = Vec::new();
    while let Ok((source, lines)) = tokio::time::timeout(Duration::from_secs(5), reporter.next_lines()).await {
        reporter.lines_done(source, lines.len());
        next.extend(lines.into_iter().filter(|_| source == flood));
    }
    assert_eq!(outputs(&sent)[0].trim(), "0");
    assert_eq!(outputs(&next)[0].trim(), "1", "what was sent is neither sent again nor skipped");
}
