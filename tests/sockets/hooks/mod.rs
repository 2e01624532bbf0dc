//! Hooks: the application is asked before clients connect, join or publish, over every kind of client.

// What it allows, changes and refuses.
mod decisions;
// What bounds the questions.
mod limits;
// What holds when it gives no answer, and what it may not say.
mod failures;
// The example of docs/hooks.md.
mod example;

use std::fs;
use std::time::Duration;

use harness::{Application, AskedQuestion, Centrifuge, Client, Disconnect, Encoding, Transport, WELCOME, at_once};
use roomcast::config::{HookPolicy, Settings, Span};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::server::{Shape, TestServer};

/// The secret that signs the questions.
const SECRET: &[u8] = b"a secret of hooks that is long enough";

/// A server, the application that it asks, and the folder of its secret.
struct Hooked {
    application: Application,
    server: TestServer,
    _folder: TempDir,
}

impl Hooked {
    /// Starts a server with these further settings, which turn hooks on. It waits for answers as long as a test may last.
    fn start(shape: Shape, change: impl FnOnce(&mut Settings)) -> Self {
        let (application, folder) = (Application::start(), tempfile::tempdir().expect("a folder"));
        let url = application.url();
        let server = TestServer::start(shape, |settings| {
            hook(settings, &folder, url);
            change(settings);
        });
        Self { application, server, _folder: folder }
    }

    /// Starts a server with one worker that asks before these acts, and denies what is not answered.
    fn asking(hooks: &[Wish]) -> Self {
        Self::start(Shape::ONE, |settings| {
            for hook in hooks {
                *hook.policy(settings) = HookPolicy::Deny;
            }
        })
    }

    /// The next question, which is of this hook.
    #[track_caller]
    fn question(&self, hook: &str) -> AskedQuestion {
        let question = self.application.question();
        assert_eq!(question.json()["hook"], hook);
        question
    }

    /// A client in the room `a` that the application says is alice.
    fn connect_as_alice(&self, kind: Kind) -> Member {
        let claims = json!({ "claims": { "sub": "alice" } });
        let mut member = match kind {
            Kind::Text(transport) => {
                let mut client = Client::open(&self.server, transport);
                self.question("connect").answer(claims);
                client.expect(WELCOME);
                Member::Text(client)
            }
            Kind::Centrifuge => {
                let mut client = Centrifuge::open(self.server.http, Encoding::Json);
                let id = client.send_command(json!({ "connect": {} }));
                self.question("connect").answer(claims);
                assert_eq!(refused(&client.reply(id)), Ok(()));
                Member::Centrifuge(client)
            }
        };
        let join = member.begin_join("a");
        assert_eq!(member.joined(join, "a"), Ok(()));
        member
    }

    /// The questions that were sent and not answered.
    fn in_flight(&self) -> u64 {
        harness::metrics(self.server.http)["roomcast_hooks_in_flight"] as u64
    }

    /// A hook's count of an outcome.
    fn count(&self, hook: &str, outcome: &str) -> u64 {
        let name = format!("roomcast_hook_requests_total{{hook=\"{hook}\",outcome=\"{outcome}\"}}");
        harness::metrics(self.server.http)[&name] as u64
    }
}

/// What the application is asked before.
#[derive(Clone, Copy, Debug)]
enum Wish {
    Connect,
    Join,
    Publish,
}

impl Wish {
    fn policy(self, settings: &mut Settings) -> &mut HookPolicy {
        match self {
            Self::Connect => &mut settings.hooks.hook_connect,
            Self::Join => &mut settings.hooks.hook_join,
            Self::Publish => &mut settings.hooks.hook_publish,
        }
    }
}

/// Sets what every hook needs.
fn hook(settings: &mut Settings, folder: &TempDir, url: String) {
    let secret = folder.path().join("hook.secret");
    fs::write(&secret, SECRET).expect("a file");
    settings.hooks.hook_url = Some(url);
    settings.hooks.hook_secret_file = Some(secret);
    settings.hooks.hook_networks = vec!["127.0.0.1".into()];
    settings.hooks.hook_timeout = Span(Duration::from_secs(60));
}

/// A kind of client.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Text(Transport),
    Centrifuge,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Text(Transport::Tcp), Self::Text(Transport::WebSocket), Self::Centrifuge];
}

/// Runs a behaviour over every kind of client.
fn over_all(behaviour: impl Fn(Kind) + Sync) {
    at_once(Kind::ALL, behaviour);
}

/// A client of any kind that is in one room at a time.
enum Member {
    Text(Client),
    Centrifuge(Centrifuge),
}

/// A command that was not answered yet, by its id if it has one.
struct Command(u32);

impl Member {
    /// Connects, where no hook asks about that.
    fn connect(server: &TestServer, kind: Kind) -> Self {
        match kind {
            Kind::Text(transport) => Self::Text(Client::connect(server, transport)),
            Kind::Centrifuge => Self::Centrifuge(Centrifuge::connect(server.http, None)),
        }
    }

    /// Connects and joins the room `a`, where no hook asks about that.
    fn of_a(server: &TestServer, kind: Kind) -> Self {
        let mut member = Self::connect(server, kind);
        let join = member.begin_join("a");
        assert_eq!(member.joined(join, "a"), Ok(()));
        member
    }

    fn begin_join(&mut self, room: &str) -> Command {
        match self {
            Self::Text(client) => {
                client.send(&format!("JOIN {room}"));
                Command(0)
            }
            Self::Centrifuge(client) => Command(client.send_command(json!({ "subscribe": { "channel": room } }))),
        }
    }

    /// The end of a join: an error is what the client is told.
    #[track_caller]
    fn joined(&mut self, Command(id): Command, room: &str) -> Result<(), String> {
        match self {
            Self::Text(client) => {
                let line = client.line();
                if line == format!("Joined {room}") { Ok(()) } else { Err(line) }
            }
            Self::Centrifuge(client) => refused(&client.reply(id)),
        }
    }

    /// Publishes to the room `a`, which the client is in.
    fn begin_publish(&mut self, text: &str) -> Command {
        match self {
            Self::Text(client) => {
                client.send(text);
                Command(0)
            }
            Self::Centrifuge(client) => {
                let publish = json!({ "publish": { "channel": "a", "data": { "text": text } } });
                Command(client.send_command(publish))
            }
        }
    }

    /// The reply to a publish that is accepted, of which a text client is not told.
    #[track_caller]
    fn published(&mut self, Command(id): Command) {
        if let Self::Centrifuge(client) = self {
            assert_eq!(refused(&client.reply(id)), Ok(()));
        }
    }

    /// What the client is told of a publish that is refused.
    #[track_caller]
    fn refusal(&mut self, Command(id): Command) -> String {
        match self {
            Self::Text(client) => client.line(),
            Self::Centrifuge(client) => refused(&client.reply(id)).expect_err("a refusal"),
        }
    }

    /// The text of the next publication in `a`.
    #[track_caller]
    fn hear(&mut self) -> String {
        match self {
            Self::Text(client) => {
                let line = client.line();
                line.split_once("] ").expect(&line).1.to_owned()
            }
            Self::Centrifuge(client) => client.publication("a")["text"].as_str().expect("a text").to_owned(),
        }
    }

    /// The application has ended the connection.
    #[track_caller]
    fn expect_kicked(&mut self) {
        match self {
            Self::Text(client) => client.expect_closed(Disconnect::Kicked),
            Self::Centrifuge(client) => client.expect_closed(3503),
        }
    }

    fn expect_nothing(&mut self) {
        match self {
            Self::Text(client) => client.expect_nothing(),
            Self::Centrifuge(client) => client.expect_nothing(),
        }
    }
}

/// What a reply of the Centrifuge protocol says.
fn refused(reply: &Value) -> Result<(), String> {
    match &reply["error"] {
        Value::Null => Ok(()),
        error => Err(format!("{} {}", error["code"], error["message"].as_str().expect("a message"))),
    }
}

/// What a client of this kind is told of a refusal with this reason.
fn forbidden(kind: Kind, reason: &str) -> String {
    match kind {
        Kind::Text(_) => format!("ERR forbidden {reason}"),
        Kind::Centrifuge => format!("103 permission denied: {reason}"),
    }
}

/// What a client of this kind is told where the application gives no answer.
fn unavailable(kind: Kind) -> String {
    let reason = "the application does not answer: try again later";
    match kind {
        Kind::Text(_) => format!("ERR unavailable {reason}"),
        Kind::Centrifuge => format!("100 internal server error: {reason}"),
    }
}
