//! Choices that differ from run to run, and can be made again.

/// A source of choices; its seed is printed, and `TEST_SEED` sets it.
pub struct Seed(u64);

impl Seed {
    /// The seed of `TEST_SEED`, else one that no other run has.
    pub fn new() -> Self {
        let chosen = std::env::var("TEST_SEED").ok().map(|seed| seed.parse().expect("TEST_SEED is a number"));
        let seed = chosen.unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0);
        eprintln!("again with: TEST_SEED={seed}");
        Self(seed)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    /// One of `choices`.
    pub fn choose<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[usize::try_from(self.below(choices.len() as u64)).expect("an index")]
    }

    /// A source of its own, for a thread.
    #[must_use]
    pub fn split(&mut self) -> Self {
        Self(self.below(u64::MAX))
    }
}

impl Default for Seed {
    fn default() -> Self {
        Self::new()
    }
}
