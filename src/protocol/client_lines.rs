//! The input of a line client: text without telnet commands, in lines. Copies nothing, and finds the same lines however the
//! network cuts the bytes.

use super::lines::{DecodedLine, LineDecoder, LineTooLong};
use super::telnet::Telnet;

/// The state of one client's input.
#[derive(Debug)]
pub struct ClientLines {
    telnet: Telnet,
    lines: LineDecoder,
}

impl ClientLines {
    /// For lines of at most `bytes_max` bytes, without their ends.
    pub fn new(bytes_max: usize) -> Self {
        Self { telnet: Telnet::default(), lines: LineDecoder::new(bytes_max) }
    }

    /// Removes telnet commands from `fresh`, which is the input behind `kept`, and returns the length of the text that is
    /// left at its front. The last byte of `kept` is removed if it proves to be the beginning of a command.
    pub fn strip(&mut self, kept: &mut Vec<u8>, fresh: &mut [u8]) -> usize {
        let left = self.telnet.strip(kept, fresh);
        self.lines.shorten(kept.len());
        left
    }

    /// The refusals of telnet options to send for the input since the last call.
    pub fn take_answers(&mut self) -> Option<Vec<u8>> {
        self.telnet.take_answers()
    }

    /// Finds the first line of `input`, which is all text that was not taken yet.
    ///
    /// # Errors
    /// The line, complete or not, is too long.
    pub fn next<'a>(&mut self, input: &'a [u8]) -> Result<DecodedLine<'a>, LineTooLong> {
        // What may begin a telnet command counts neither for the length of the line nor behind a carriage return.
        let text = input.len() - self.telnet.undecided_bytes();
        self.lines.next(&input[..text])
    }

    /// To be called when the incomplete line begins anew, without the bytes that were skipped at its front.
    pub fn begin_anew(&mut self) {
        self.lines.shorten(0);
    }
}
