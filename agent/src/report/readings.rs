use std::time::SystemTime;

use protocol::agent_api::{Metadata, workspace_agent_metadata};

/// Bytes of one message, far below what a packet may hold.
const BATCH_BYTES: usize = 1024 * 1024;

/// What was collected for one metadata item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Which item.
    pub key: String,
    /// What its script printed, masked.
    pub value: String,
    /// Why it failed; empty where it did not.
    pub error: String,
    /// When its script began.
    pub collected_at: SystemTime,
}

impl Reading {
    /// As it is sent now.
    pub(crate) fn to_wire(&self) -> Metadata {
        let age = self.collected_at.elapsed().unwrap_or_default().as_secs();
        let result = workspace_agent_metadata::Result {
            collected_at: Some(self.collected_at.into()),
            age: i64::try_from(age).unwrap_or(i64::MAX),
            // The database behind the server takes no null bytes.
            value: self.value.replace('\0', "\u{fffd}"),
            error: self.error.replace('\0', "\u{fffd}"),
        };
        Metadata { key: self.key.clone(), result: Some(result) }
    }
}

/// The latest reading of each item that the server does not have yet; no more than there are items.
#[derive(Debug, Default)]
pub(super) struct Readings(Vec<Reading>);

impl Readings {
    /// An older reading of the item is of no interest any more. The place in the queue stays, so that no item waits for
    /// ever behind those that change often.
    pub(super) fn put(&mut self, reading: Reading) {
        match self.0.iter_mut().find(|waiting| waiting.key == reading.key) {
            Some(waiting) => *waiting = reading,
            None => self.0.push(reading),
        }
    }

    /// The first ones, at least one where there is any.
    pub(super) fn batch(&self) -> Vec<Reading> {
        let mut bytes = 0;
        let fits = |reading: &&Reading| {
            let first = bytes == 0;
            bytes += reading.key.len() + reading.value.len() + reading.error.len() + 64;
            first || bytes <= BATCH_BYTES
        };
        self.0.iter().take_while(fits).cloned().collect()
    }

    /// Takes out what the server has. What was collected again meanwhile stays.
    pub(super) fn remove(&mut self, sent: &[Reading]) {
        self.0.retain(|waiting| !sent.contains(waiting));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(key: &str, value: &str) -> Reading {
        let (key, value, error) = (key.into(), value.into(), String::new());
        Reading { key, value, error, collected_at: SystemTime::UNIX_EPOCH }
    }

    #[test]
    fn only_the_latest_reading_of_an_item_waits_and_what_changed_on_the_way_stays() {
        let mut readings = Readings::default();
        for (key, value) in [("a", "1"), ("b", "1"), ("a", "2")] {
            readings.put(reading(key, value));
        }
        let sent = readings.batch();
        assert_eq!(sent, [reading("a", "2"), reading("b", "1")]);
        readings.put(reading("a", "3"));
        readings.remove(&sent);
        assert_eq!(readings.batch(), [reading("a", "3")]);
    }

    #[test]
    fn a_batch_is_bounded_and_nothing_is_left_behind() {
        let mut readings = Readings::default();
        let long = "x".repeat(10 * 1024);
        for number in 0..300 {
            readings.put(reading(&number.to_string(), &long));
        }
        let mut sent = 0;
        while let batch @ [_, ..] = &readings.batch()[..] {
            assert!(batch.len() < 103);
            sent += batch.len();
            readings.remove(batch);
        }
        assert_eq!(sent, 300);
    }

    #[test]
    fn a_reading_is_sent_with_its_time_and_age_and_without_null_bytes() {
        let collected_at = SystemTime::now() - std::time::Duration::from_secs(90);
        let sent = Reading { collected_at, ..reading("a", "one\0two") }.to_wire();
        let result = sent.result.unwrap();
        assert_eq!((sent.key.as_str(), result.value.as_str()), ("a", "one\u{fffd}two"));
        assert_eq!(result.collected_at, Some(collected_at.into()));
        assert!((90..100).contains(&result.age), "{}", result.age);
    }
}
