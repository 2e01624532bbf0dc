//! One candidate of a comparison: a target, and the command that starts its server.

use std::fmt;
use std::str::FromStr;

use crate::target::Target;

/// One candidate of a comparison.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// Where its server listens.
    pub target: Target,
    /// The command that starts the server; `None` if it is running already.
    pub command: Option<String>,
}

impl FromStr for Candidate {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (target, command) = match text.split_once(' ') {
            Some((target, command)) => (target, Some(command.trim().to_owned())),
            None => (text, None),
        };
        let target = if target == "limit" { Target::limit() } else { target.parse()? };
        Ok(Self { target, command: command.filter(|command| !command.is_empty()) })
    }
}

impl fmt::Display for Candidate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.command {
            Some(command) => write!(formatter, "{} {command}", self.target),
            None => self.target.fmt(formatter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_candidate_is_a_target_and_perhaps_a_command() {
        let candidate: Candidate = "tcp://127.0.0.1:8080 roomcast --workers 1".parse().unwrap();
        assert_eq!(candidate.command.as_deref(), Some("roomcast --workers 1"));
        assert_eq!(candidate.to_string(), "tcp://127.0.0.1:8080 roomcast --workers 1");
        assert_eq!("limit".parse::<Candidate>().unwrap().target, Target::limit());
        assert!("roomcast".parse::<Candidate>().is_err());
    }
}
