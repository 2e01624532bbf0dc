//! Telnet commands (RFC 854), removed in place from a line client's input. Refuses every option, and keeps no state for
//! clients that do not speak telnet.

use memchr::memchr2;

/// Interpret as command: begins every telnet command. UTF-8 never contains this byte.
const IAC: u8 = 0xff;
const DONT: u8 = 0xfe;
const DO: u8 = 0xfd;
const WONT: u8 = 0xfc;
const WILL: u8 = 0xfb;
const SUBNEGOTIATION: u8 = 0xfa;
const SUBNEGOTIATION_END: u8 = 0xf0;

/// The commands without an option are from here (RFC 1184 §2.1) up to `SUBNEGOTIATION`.
const PLAIN_MIN: u8 = 0xec;

/// A client requests this option after each interrupt, and waits for the refusal (RFC 860).
const TIMING_MARK: u8 = 6;

/// A longer subnegotiation has lost its end; what follows is text.
const SUBNEGOTIATION_BYTES_MAX: u16 = 1_024;

/// The telnet state of one client.
#[derive(Debug, Default)]
pub struct Telnet {
    /// The last byte of text was a carriage return.
    after_return: bool,
    /// `None` until the first command.
    negotiation: Option<Box<Negotiation>>,
}

#[derive(Debug, Default)]
struct Negotiation {
    state: State,
    offers_refused: Options,
    requests_refused: Options,
    answers: Vec<u8>,
}

/// The state of the parser in front of the next byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Text,
    /// Behind an `IAC`, which stays in the text until the next byte proves it to be a command.
    Command,
    /// Behind one of the verbs `WILL`, `WONT`, `DO` and `DONT`: an option follows.
    Option(u8),
    /// In a subnegotiation, behind this many of its bytes.
    Subnegotiation(u16),
    /// In a subnegotiation, behind an `IAC`.
    SubnegotiationCommand(u16),
}

/// What to do with a byte.
enum Action {
    /// Keep it as text, in the form of this byte.
    Keep(u8),
    /// Remove it.
    Remove,
    /// Remove it and the `IAC` in front of it, which was kept as text.
    RemoveWithIac,
}

/// A set of options.
#[derive(Debug, Default)]
struct Options([u64; 4]);

impl Telnet {
    /// Removes telnet commands from `fresh`, which is the input behind `before`, and returns the length of the text
    /// that is left at the front of `fresh`. `CR NUL` becomes a line end. An `IAC` at the end of `before` is removed if
    /// it proves to be a command.
    pub fn strip(&mut self, before: &mut Vec<u8>, fresh: &mut [u8]) -> usize {
        if self.is_in_text() && memchr2(IAC, b'\0', fresh).is_none() {
            self.after_return = fresh.last().map_or(self.after_return, |&last| last == b'\r');
            return fresh.len();
        }
        let mut kept = 0;
        for at in 0..fresh.len() {
            let byte = fresh[at];
            match self.step(byte) {
                Action::Keep(byte) => {
                    fresh[kept] = byte;
                    kept += 1;
                }
                Action::Remove => {}
                Action::RemoveWithIac if kept > 0 => kept -= 1,
                Action::RemoveWithIac => drop(before.pop()),
            }
        }
        kept
    }

    /// The bytes at the end of the text that may still prove to be the beginning of a command: one or none.
    pub fn undecided_bytes(&self) -> usize {
        usize::from(self.negotiation.as_ref().is_some_and(|negotiation| negotiation.state == State::Command))
    }

    /// The refusals to send for the input since the last call.
    pub fn take_answers(&mut self) -> Option<Vec<u8>> {
        let answers = &mut self.negotiation.as_mut()?.answers;
        (!answers.is_empty()).then(|| std::mem::take(answers))
    }

    fn is_in_text(&self) -> bool {
        self.negotiation.as_ref().is_none_or(|negotiation| negotiation.state == State::Text)
    }

    fn step(&mut self, byte: u8) -> Action {
        if self.is_in_text() && byte != IAC {
            let is_line_end = byte == b'\0' && self.after_return;
            self.after_return = byte == b'\r';
            return Action::Keep(if is_line_end { b'\n' } else { byte });
        }
        self.negotiation.get_or_insert_default().step(byte)
    }
}

impl Negotiation {
    fn step(&mut self, byte: u8) -> Action {
        let (state, action) = match (self.state, byte) {
            (State::Text, IAC) => (State::Command, Action::Keep(IAC)),
            // `IAC IAC` is one byte of text with this value.
            (State::Command, IAC) => (State::Text, Action::Remove),
            (State::Command, SUBNEGOTIATION) => (State::Subnegotiation(0), Action::RemoveWithIac),
            (State::Command, WILL..=DONT) => (State::Option(byte), Action::RemoveWithIac),
            (State::Command, PLAIN_MIN..SUBNEGOTIATION) => (State::Text, Action::RemoveWithIac),
            (State::Text | State::Command, _) => (State::Text, Action::Keep(byte)),
            (State::Option(verb), option) => {
                self.refuse(verb, option);
                (State::Text, Action::Remove)
            }
            (State::Subnegotiation(SUBNEGOTIATION_BYTES_MAX), _)
            | (State::SubnegotiationCommand(_), SUBNEGOTIATION_END)
            | (State::SubnegotiationCommand(SUBNEGOTIATION_BYTES_MAX), _) => (State::Text, Action::Remove),
            (State::Subnegotiation(bytes), IAC) => (State::SubnegotiationCommand(bytes + 1), Action::Remove),
            (State::Subnegotiation(bytes) | State::SubnegotiationCommand(bytes), _) => {
                (State::Subnegotiation(bytes + 1), Action::Remove)
            }
        };
        self.state = state;
        action
    }

    /// Refuses each option once, so that two peers that refuse do not go on for ever.
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
    /// Whether the option was added, and not in the set before.
    fn insert(&mut self, option: u8) -> bool {
        let (word, bit) = (&mut self.0[usize::from(option / 64)], 1 << (option % 64));
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }
}
