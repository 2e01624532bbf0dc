//! The example application of `docs/hooks.md`, as it stands there.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use harness::{Client, Transport};
use roomcast::config::HookPolicy;

use super::{SECRET, hook};
use crate::server::{Shape, TestServer};

/// A program that ends with the test.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_example_of_the_documents_verifies_and_decides() {
    let folder = tempfile::tempdir().expect("a folder");
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/hooks.md")).expect("docs/hooks.md");
    let (_, rest) = page.split_once("```python\n").expect("an example");
    let (example, _) = rest.split_once("```").expect("its end");
    let [script, secret, wrong_secret] =
        ["example.py", "app.secret", "wrong.secret"].map(|name| folder.path().join(name));
    fs::write(&script, example).expect("a file");
    fs::write(&secret, SECRET).expect("a file");
    fs::write(&wrong_secret, [b'x'; 32]).expect("a file");
    for (secret, knows_secret) in [(&secret, true), (&wrong_secret, false)] {
        let mut command = Command::new("python3");
        command.arg(&script).arg(secret).arg("0").stdout(Stdio::piped()).stderr(Stdio::null());
        let mut program = Program(command.spawn().expect("python3"));
        let mut port = String::new();
        BufReader::new(program.0.stdout.take().expect("its output")).read_line(&mut port).expect("a port");
        let server = TestServer::start(Shape::ONE, |settings| {
            hook(settings, &folder, format!("http://127.0.0.1:{}/hook", port.trim()));
            (settings.hooks.hook_join, settings.hooks.hook_publish) = (HookPolicy::Deny, HookPolicy::Deny);
        });
        let mut client = Client::connect(&server, Transport::Tcp);
        if knows_secret {
            assert_eq!(client.request("JOIN staff"), "ERR forbidden staff only");
            client.join("a");
            client.send("what the heck");
            assert!(client.line().ends_with("] what the ****"));
        } else {
            let refused = "ERR unavailable the application does not answer: try again later";
            assert_eq!(client.request("JOIN a"), refused);
        }
    }
}
