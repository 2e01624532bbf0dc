//! Lines that are counted and not understood, but for the last one. Never keeps more than that.

/// The longest last line that is kept.
const KEPT_BYTES: usize = 128;

const LAST_LINE: &str = "ERR closed ";

/// What was read.
#[derive(Debug, Default)]
pub struct Skimmed {
    /// Its last bytes.
    tail: Vec<u8>,
}

impl Skimmed {
    /// Adds what was read; returns how many lines that ends.
    pub fn add(&mut self, bytes: &[u8]) -> u64 {
        let kept = &bytes[bytes.len().saturating_sub(KEPT_BYTES)..];
        self.tail.extend_from_slice(kept);
        self.tail.drain(..self.tail.len().saturating_sub(KEPT_BYTES));
        memchr::memchr_iter(b'\n', bytes).count() as u64
    }

    /// The reason that the last line gives, if it gives one.
    pub fn last_words(&self) -> Option<String> {
        let tail = String::from_utf8_lossy(&self.tail);
        tail.lines().last()?.strip_prefix(LAST_LINE).map(str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_and_the_last_one_is_understood_wherever_it_was_cut() {
        let text = b"[ada] hello\n[bob] hi\nERR closed slow-consumer\n";
        for cut in 0..text.len() {
            let mut skimmed = Skimmed::default();
            assert_eq!(skimmed.add(&text[..cut]) + skimmed.add(&text[cut..]), 3);
            assert_eq!(skimmed.last_words().as_deref(), Some("slow-consumer"));
        }
    }

    #[test]
    fn what_nobody_closed_has_no_last_words() {
        let mut skimmed = Skimmed::default();
        assert_eq!(skimmed.last_words(), None);
        skimmed.add(&[b'x'; 1_000]);
        skimmed.add(b"[ada] ERR closed slow-consumer\n");
        assert_eq!(skimmed.last_words(), None);
    }
}
