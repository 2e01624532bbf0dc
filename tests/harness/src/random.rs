//! Random numbers for tests, the same ones with every run.

/// Random numbers from a seed: splitmix64, by Sebastiano Vigna.
pub struct Random(pub u64);

impl Random {
    /// Returns any number.
    #[expect(clippy::should_implement_trait, reason = "it never ends")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number less than `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// Returns true once in about this many calls.
    pub fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }
}
