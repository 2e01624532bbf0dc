//! The lines that a child process writes, as they come.

use std::io::{BufRead, BufReader, Read};
use std::thread;

use flume::{Receiver, RecvTimeoutError};

use super::FAILSAFE;

/// The lines of a pipe. A thread reads them, so that the child never waits for a test to read its log.
pub struct Log(Receiver<String>);

impl Log {
    /// Starts to read the pipe.
    pub fn of(pipe: impl Read + Send + 'static) -> Self {
        let (sender, lines) = flume::unbounded();
        thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                // Fails when the test has ended first.
                let _ = sender.send(line);
            }
        });
        Self(lines)
    }

    /// A log without a line, for a child whose output this process does not read.
    pub fn none() -> Self {
        Self(flume::unbounded().1)
    }

    /// The next line, or `None` at the end.
    #[track_caller]
    pub fn line(&self) -> Option<String> {
        match self.0.recv_timeout(FAILSAFE) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("the log neither goes on nor ends"),
        }
    }

    /// The lines up to the first that contains the phrase.
    #[track_caller]
    pub fn until(&self, phrase: &str) -> Vec<String> {
        let mut lines = Vec::new();
        while !lines.last().is_some_and(|line: &String| line.contains(phrase)) {
            let Some(line) = self.line() else { panic!("no {phrase:?} in {lines:#?}") };
            lines.push(line);
        }
        lines
    }

    /// The first line that contains the phrase.
    #[track_caller]
    pub fn line_with(&self, phrase: &str) -> String {
        self.until(phrase).pop().expect("a line with the phrase")
    }

    /// The lines that have come and were not taken yet.
    pub fn so_far(&self) -> Vec<String> {
        self.0.try_iter().collect()
    }

    /// The lines up to the end.
    #[track_caller]
    pub fn rest(&self) -> Vec<String> {
        std::iter::from_fn(|| self.line()).collect()
    }
}
