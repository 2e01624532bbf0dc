//! Counts lines without decoding them. Keeps only the end of the input, to read the last line from it.

/// Maximum bytes kept of the last line.
const KEPT_BYTES: usize = 128;

const LAST_LINE: &str = "ERR closed ";

/// Counts the lines of one client.
#[derive(Debug, Default)]
pub struct LineCounter {
    /// The last bytes of the input.
    tail: Vec<u8>,
}

impl LineCounter {
    /// Adds input and returns the number of lines that it completes.
    pub fn add(&mut self, bytes: &[u8]) -> u64 {
        let kept = &bytes[bytes.len().saturating_sub(KEPT_BYTES)..];
        self.tail.extend_from_slice(kept);
        self.tail.drain(..self.tail.len().saturating_sub(KEPT_BYTES));
        memchr::memchr_iter(b'\n', bytes).count() as u64
    }

    /// The reason in the last line, if that line is a close.
    pub fn close_reason(&self) -> Option<String> {
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
            let mut line_counter = LineCounter::default();
            assert_eq!(line_counter.add(&text[..cut]) + line_counter.add(&text[cut..]), 3);
            assert_eq!(line_counter.close_reason().as_deref(), Some("slow-consumer"));
        }
    }

    #[test]
    fn what_nobody_closed_has_no_last_words() {
        let mut line_counter = LineCounter::default();
        assert_eq!(line_counter.close_reason(), None);
        line_counter.add(&[b'x'; 1_000]);
        line_counter.add(b"[ada] ERR closed slow-consumer\n");
        assert_eq!(line_counter.close_reason(), None);
    }
}
