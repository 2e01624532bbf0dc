//! The tasks of the program besides serving: its subcommands, whose doc comments are their help, and the texts that some
//! of them print without any setting.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use clap_complete::Shell;

use super::Span;
use super::default_file::default_file;
use super::help::{completions, settings_page};
use super::man_pages::main_page;

/// The variable with the key for tasks that ask a server. It is no setting.
pub const API_KEY_VARIABLE: &str = "ROOMCAST_API_KEY";

/// The tasks of the program. All but the first are its subcommands, whose help is here.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Task {
    /// Serve.
    #[command(skip)]
    Serve,
    /// Print the effective settings, or what is wrong with them and their files
    CheckConfig {
        /// Print instead which rule applies to this room, and what a client may do there
        #[arg(long, value_name = "ROOM")]
        explain: Option<String>,
        /// File with the token of that client; - is standard input
        #[arg(long, value_name = "PATH", requires = "explain")]
        token: Option<PathBuf>,
    },
    /// Print a settings file with every setting at its default, commented
    DefaultConfig,
    /// Print every setting with its default and meaning
    Settings {
        /// Print Markdown, as docs/settings.md is
        #[arg(long)]
        markdown: bool,
    },
    /// Ask a server that runs whether it is well, for health checks
    ///
    /// Prints the answer to `GET /health`. The exit code is 0 if its status is 200, else 1, with one line that says why. All
    /// of it takes 5 s at most. It asks the server of its own settings, whose HTTP port may speak TLS and may expect a PROXY
    /// header of this machine.
    ///
    /// Over TLS the certificate is not checked, so TLS is only spoken with an address of this machine.
    Health {
        /// Ask whether load balancers should send clients (`GET /ready`)
        #[arg(long)]
        ready: bool,
        /// Where the server is; this machine and the port of --http if it is missing
        #[arg(long, value_name = "URL")]
        url: Option<String>,
    },
    /// Have a server that runs stop gently, and wait until it has ended
    ///
    /// Sends SIGUSR2 to the process that listens at --http of its settings, or to that of --pid, and prints once a second
    /// what it answers to `GET /ready`. The exit code is 0 once it has ended, else 1, with one line that says why.
    ///
    /// SIGUSR2 changes nothing in a server that is stopping already, so that this may be called again. Without --pid it finds
    /// servers of the same user on this machine and in the same container. An interrupt (Ctrl-C) ends this program alone: the
    /// server goes on to stop.
    Drain {
        /// Process of the server; the one that listens at --http if it is missing
        #[arg(long, value_name = "PID", value_parser = clap::value_parser!(i32).range(1..))]
        pid: Option<i32>,
    },
    /// Publish a text to a room of a running server, with an API key for publish
    Publish {
        /// The room
        room: String,
        /// The text; with --json any JSON value
        text: String,
        /// The text is JSON, which SDKs get as it is
        #[arg(long)]
        json: bool,
        /// The server and the key
        #[command(flatten)]
        server: ServerToAsk,
    },
    /// List the rooms of a running server, with an API key for channels
    Rooms {
        /// Only the rooms of this pattern, as in team:*
        pattern: Option<String>,
        /// The server and the key
        #[command(flatten)]
        server: ServerToAsk,
    },
    /// Print a new API key, once, and the line of the file of API keys for it
    GenKey {
        /// Name of the key: letters, digits, - and _
        name: String,
        /// What it may do: publish, subscribe, disconnect, presence, history, history-remove, channels, info or all
        #[arg(long, value_name = "RIGHTS", value_delimiter = ',', default_value = "publish")]
        may: Vec<String>,
        /// The rooms in which it may do so, as in team:*; all if it is missing
        #[arg(long, value_name = "PATTERN")]
        room: Option<String>,
    },
    /// Print a token for trying out, signed with the first token-secret-file
    GenToken {
        /// User of the token (sub)
        #[arg(long)]
        user: Option<String>,
        /// Name that others see; the user if it is missing
        #[arg(long)]
        name: Option<String>,
        /// Rights in rooms where a rule asks for a token, as in team:*=join,publish; may be repeated
        #[arg(long, value_name = "PATTERN=RIGHTS")]
        room: Vec<String>,
        /// Make it the token of one subscription, to this room, as SDKs of Centrifugo get it by getToken
        #[arg(long, value_name = "ROOM", conflicts_with_all = ["name", "room"])]
        channel: Option<String>,
        /// Time until it expires
        #[arg(long, value_name = "DURATION", default_value = "1h")]
        expires: Span,
        /// Name of the secret that signs, its file's without extension; the first if it is missing
        #[arg(long)]
        kid: Option<String>,
    },
    /// Explain a token: what it says, whether it is valid, and what it gives
    CheckToken {
        /// File with the token; - is standard input
        #[arg(value_name = "PATH")]
        file: PathBuf,
    },
    /// Print a script that completes the flags and tasks in a shell
    #[command(hide = true)]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page, or write those of all tasks and of the settings file
    #[command(hide = true)]
    Man {
        /// Write all manual pages into this folder instead
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

/// The server that a task asks through its API, and the key.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct ServerToAsk {
    /// Where the server is; this machine and the port of --http if it is missing
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// File with the API key; the variable ROOMCAST_API_KEY if it is missing
    #[arg(long, value_name = "PATH")]
    pub key_file: Option<PathBuf>,
}

impl Task {
    /// Whether it asks a server that runs.
    pub fn asks_server(&self) -> bool {
        matches!(self, Self::Health { .. } | Self::Drain { .. } | Self::Publish { .. } | Self::Rooms { .. })
    }

    /// The text of a task that only tells of the program, whatever its settings are.
    pub(super) fn text(&self) -> Option<String> {
        match self {
            Self::Settings { markdown } => Some(settings_page(*markdown)),
            Self::DefaultConfig => Some(default_file()),
            Self::Completions { shell } => Some(completions(*shell)),
            Self::Man { dir: None } => Some(main_page()),
            _ => None,
        }
    }
}
