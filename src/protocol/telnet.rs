//! What telnet says beside the text (RFC 854), taken out of a line client's bytes in place. Agrees to nothing, and keeps nothing
//! for clients that do not speak it.

use memchr::memchr2;

/// Interpret as command. No UTF-8 has this byte.
const IAC: u8 = 0xff;
const DONT: u8 = 0xfe;
const DO: u8 = 0xfd;
const WONT: u8 = 0xfc;
const WILL: u8 = 0xfb;
const SUBNEGOTIATION: u8 = 0xfa;
const SUBNEGOTIATION_END: u8 = 0xf0;

/// The first of the commands that have no option (RFC 1184 §2.1); the last is one below that of subnegotiation.
const PLAIN_MIN: u8 = 0xec;

/// The option that a client asks for after an interrupt, each time, and waits for the refusal (RFC 860).
const TIMING_MARK: u8 = 6;

/// A subnegotiation that goes on for longer is none: its end was lost.
const SUBNEGOTIATION_BYTES_MAX: u16 = 1_024;

/// What is telnet's own in the bytes of one client.
#[derive(Debug, Default)]
pub struct Telnet {
    /// The text so far ends with a carriage return.
    after_return: bool,
    negotiation: Option<Box<Negotiation>>,
}

#[derive(Debug, Default)]
struct Negotiation {
    place: Place,
    offers_refused: Options,
    requests_refused: Options,
    answers: Vec<u8>,
}

/// Where in telnet's grammar the next byte stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Text,
    /// Behind an `IAC`, which was left in the text until it is known to be a command.
    Command,
    /// Behind one of the four verbs: an option follows.
    Option(u8),
    /// In a subnegotiation, of which so many bytes have come.
    Within(u16),
    /// The same behind an `IAC`.
    CommandWithin(u16),
}

/// A set of options.
#[derive(Debug, Default)]
struct Options([u64; 4]);

impl Telnet {
    /// Takes telnet's own bytes out of `fresh`, which comes behind `before`, and returns how many bytes of text are left at its
    /// front. `CR NUL` becomes a line end. An `IAC` at the end of `before` is taken back once it proves to be a command.
    pub fn strip(&mut self, before: &mut Vec<u8>, fresh: &mut [u8]) -> usize {
        if self.is_in_text() && memchr2(IAC, b'\0', fresh).is_none() {
            self.after_return = fresh.last().map_or(self.after_return, |&last| last == b'\r');
            return fresh.len();
        }
        let mut kept = 0;
        for at in 0..fresh.len() {
            let byte = fresh[at];
            match self.step(byte) {
                Step::Text(byte) => {
                    fresh[kept] = byte;
                    kept += 1;
                }
                Step::Skipped => {}
                Step::IsCommand if kept > 0 => kept -= 1,
                Step::IsCommand => drop(before.pop()),
            }
        }
        kept
    }

    /// The refusals that are due since this was asked last.
    pub fn take_answers(&mut self) -> Option<Vec<u8>> {
        let answers = &mut self.negotiation.as_mut()?.answers;
        (!answers.is_empty()).then(|| std::mem::take(answers))
    }

    fn is_in_text(&self) -> bool {
        self.negotiation.as_ref().is_none_or(|negotiation| negotiation.place == Place::Text)
    }

    fn step(&mut self, byte: u8) -> Step {
        if self.is_in_text() && byte != IAC {
            let is_line_end = byte == b'\0' && self.after_return;
            self.after_return = byte == b'\r';
            return Step::Text(if is_line_end { b'\n' } else { byte });
        }
        self.negotiation.get_or_insert_default().step(byte)
    }
}

/// What becomes of a byte.
enum Step {
    /// It is text, as this byte.
    Text(u8),
    /// It is telnet's.
    Skipped,
    /// It is telnet's, and so is the `IAC` that was taken for text.
    IsCommand,
}

impl Negotiation {
    fn step(&mut self, byte: u8) -> Step {
        let (place, step) = match (self.place, byte) {
            (Place::Text, IAC) => (Place::Command, Step::Text(IAC)),
            // A byte of text that happens to be this one.
            (Place::Command, IAC) => (Place::Text, Step::Skipped),
            (Place::Command, SUBNEGOTIATION) => (Place::Within(0), Step::IsCommand),
            (Place::Command, WILL..=DONT) => (Place::Option(byte), Step::IsCommand),
            (Place::Command, PLAIN_MIN..SUBNEGOTIATION) => (Place::Text, Step::IsCommand),
            (Place::Text | Place::Command, _) => (Place::Text, Step::Text(byte)),
            (Place::Option(verb), option) => {
                self.refuse(verb, option);
                (Place::Text, Step::Skipped)
            }
            (Place::Within(SUBNEGOTIATION_BYTES_MAX), _) => (Place::Text, Step::Skipped),
            (Place::Within(bytes), IAC) => (Place::CommandWithin(bytes + 1), Step::Skipped),
            (Place::CommandWithin(_), SUBNEGOTIATION_END) => (Place::Text, Step::Skipped),
            (Place::CommandWithin(SUBNEGOTIATION_BYTES_MAX), _) => (Place::Text, Step::Skipped),
            (Place::Within(bytes) | Place::CommandWithin(bytes), _) => (Place::Within(bytes + 1), Step::Skipped),
        };
        self.place = place;
        step
    }

    /// Each option is refused once, so that two who refuse do not go on for ever.
    fn refuse(&mut self, verb: u8, option: u8) {
        match verb {
            WILL if self.offers_refused.insert(option) => self.answers.extend([IAC, DONT, option]),
            DO if self.requests_refused.insert(option) || option == TIMING_MARK => {
                self.answers.extend([IAC, WONT, option]);
            }
            _ => {}
        }
    }
}

impl Options {
    /// False if it was there already.
    fn insert(&mut self, option: u8) -> bool {
        let (word, bit) = (&mut self.0[usize::from(option / 64)], 1 << (option % 64));
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What PuTTY says first in telnet mode.
    const PUTTY: &[u8] = b"\xff\xfb\x1f\xff\xfb\x20\xff\xfb\x18\xff\xfb\x27\xff\xfd\x01\xff\xfb\x03\xff\xfd\x03";

    /// The text and the answers when the bytes come in these pieces.
    fn heard<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<u8>, Vec<u8>) {
        let (mut telnet, mut text, mut answers) = (Telnet::default(), Vec::new(), Vec::new());
        for piece in pieces {
            let mut fresh = piece.to_vec();
            let kept = telnet.strip(&mut text, &mut fresh);
            text.extend_from_slice(&fresh[..kept]);
            answers.extend(telnet.take_answers().into_iter().flatten());
        }
        (text, answers)
    }

    /// The same however the bytes are cut.
    #[track_caller]
    fn expect(said: &[u8], text: &[u8], answers: &[u8]) {
        let expected = (text.to_vec(), answers.to_vec());
        for at in 0..=said.len() {
            let (first, second) = said.split_at(at);
            assert_eq!(heard([first, second]), expected, "cut at {at}");
        }
        assert_eq!(heard(said.chunks(1)), expected, "byte by byte");
    }

    #[test]
    fn a_negotiation_is_refused_and_leaves_the_text_as_it_was() {
        let refusals = b"\xff\xfe\x1f\xff\xfe\x20\xff\xfe\x18\xff\xfe\x27\xff\xfc\x01\xff\xfe\x03\xff\xfc\x03";
        expect(&[PUTTY, b"JOIN a\r\n"].concat(), b"JOIN a\r\n", refusals);
        expect(&[b"JO", PUTTY, b"IN a\n", PUTTY].concat(), b"JOIN a\n", refusals);
        expect(b"a\xff\xfc\x01b\xff\xfe\x01c", b"abc", b"");
    }

    #[test]
    fn an_interrupt_is_skipped_and_its_timing_mark_refused_each_time() {
        expect(b"a\xff\xf4\xff\xfd\x06b\xff\xfd\x06\n", b"ab\n", b"\xff\xfc\x06\xff\xfc\x06");
        expect(b"\xff\xf1a\xff\xf9\xff\xecb", b"ab", b"");
    }

    #[test]
    fn a_subnegotiation_is_skipped_whatever_it_holds_unless_its_end_was_lost() {
        expect(b"a\xff\xfa\x1f\x00\x50\x00\x0a\xff\xf0b", b"ab", b"");
        expect(b"a\xff\xfa\x18\xff\xff\n\r\0\xff\xf0b", b"ab", b"");
        let endless = [b"\xff\xfa", &[b'x'; 1_025][..], b"hello\n"].concat();
        assert_eq!(heard([&endless[..]]).0, b"hello\n");
    }

    #[test]
    fn a_line_may_end_with_a_carriage_return_and_a_nul() {
        expect(b"a\r\0b\0\r\r\0", b"a\r\nb\0\r\r\n", b"");
        expect(b"a\r\xff\xf1\0", b"a\r\n", b"");
    }

    #[test]
    fn what_is_no_command_stays_in_the_text() {
        expect(b"ab\xff\ncd\xff\xff\xff\xa0", b"ab\xff\ncd\xff\xff\xa0", b"");
        assert_eq!(heard([&b"ab\xff"[..]]).0, b"ab\xff");
    }

    #[test]
    fn who_speaks_no_telnet_keeps_no_state() {
        let mut telnet = Telnet::default();
        let mut fresh = "hällo\r\n".as_bytes().to_vec();
        assert_eq!(telnet.strip(&mut Vec::new(), &mut fresh), fresh.len());
        assert!(telnet.negotiation.is_none());
    }
}
