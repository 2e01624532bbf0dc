//! One side of a comparison: where it listens, and the command that starts it if it does not run already.

use std::fmt;
use std::str::FromStr;

use crate::target::Target;

/// One side.
#[derive(Clone, Debug, PartialEq)]
pub struct Contestant {
    /// Where it listens.
    pub target: Target,
    /// What starts it.
    pub command: Option<String>,
}

impl FromStr for Contestant {
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

impl fmt::Display for Contestant {
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
    fn a_contestant_is_a_target_and_perhaps_a_command() {
        let contestant: Contestant = "tcp://127.0.0.1:8080 roomcast --workers 1".parse().unwrap();
        assert_eq!(contestant.command.as_deref(), Some("roomcast --workers 1"));
        assert_eq!(contestant.to_string(), "tcp://127.0.0.1:8080 roomcast --workers 1");
        assert_eq!("limit".parse::<Contestant>().unwrap().target, Target::limit());
        assert!("roomcast".parse::<Contestant>().is_err());
    }
}
