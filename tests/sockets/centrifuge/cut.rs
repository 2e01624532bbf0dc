//! Clients that are cut at random moments and come back with their positions in several rooms, while others publish.
//! What such a client has received together is compared with the order of each room: the same publications, each once,
//! or it was told that they cannot be had, where this is so.

use std::collections::HashMap;
use std::thread::{self, JoinHandle};

use flume::{Receiver, Sender};
use harness::{Centrifuge, CentrifugeTransport, Client, Encoding, Endpoint, Random, Transport};
use serde_json::{Value, json};

use super::{TRANSPORTS, text_of};
use crate::access::{Guarded, token};
use crate::server::{Shape, TestServer};

const ROOMS: [&str; 2] = ["a", "b"];

/// Clients that are cut.
const CLIENTS: usize = 2;

/// Cuts of each client.
const CUTS: usize = 30;

/// How a client comes back to its rooms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// By a command for each.
    Subscribe,
    /// The server has it join the rooms that its token names.
    ServerSide,
}

/// Rooms with members that publish as much as they are permitted to, and a member that is never cut.
struct LiveRooms {
    http: Endpoint,
    permits: Sender<()>,
    publishers: Vec<JoinHandle<()>>,
    witness: JoinHandle<HashMap<String, Vec<String>>>,
}

impl LiveRooms {
    fn open(server: &TestServer) -> Self {
        let mut witness = Centrifuge::connect(server.http, None);
        ROOMS.iter().for_each(|room| drop(witness.subscribe(room)));
        let witness = thread::spawn(move || hear_all(witness));
        let (permits, permitted) = flume::unbounded();
        let publishers = ROOMS
            .iter()
            .flat_map(|&room| {
                let mut text = Client::connect(server, Transport::Tcp);
                text.join(room);
                let encoding = CentrifugeTransport::WebSocket(Encoding::Protobuf);
                let mut sdk = Centrifuge::connect_over(encoding, server.http, None);
                sdk.subscribe(room);
                let of_sdk = permitted.clone();
                let of_text = permitted.clone();
                [
                    thread::spawn(move || publish_by_text(text, &of_text)),
                    thread::spawn(move || publish_by_sdk(sdk, room, &of_sdk)),
                ]
            })
            .collect();
        Self { http: server.http, permits, publishers, witness }
    }

    fn permit(&self, messages: usize) {
        (0..messages).for_each(|_| self.permits.send(()).expect("publishers that wait"));
    }

    /// Ends the publishers. Returns the texts of each room in its order.
    fn close(self) -> HashMap<String, Vec<String>> {
        drop(self.permits);
        self.publishers.into_iter().for_each(|thread| thread.join().expect("it heard itself"));
        let mut last = Centrifuge::connect(self.http, None);
        for room in ROOMS {
            last.subscribe(room);
            last.publish(room, r#""over""#);
        }
        self.witness.join().expect("it heard all")
    }
}

fn publish_by_text(mut client: Client, permitted: &Receiver<()>) {
    for (number, ()) in permitted.iter().enumerate() {
        client.send(&format!("text {number}"));
        let own = format!("] text {number}");
        while !client.line().ends_with(&own) {}
    }
}

fn publish_by_sdk(mut client: Centrifuge, room: &str, permitted: &Receiver<()>) {
    for (number, ()) in permitted.iter().enumerate() {
        let text = format!("sdk {number} {}", "x".repeat(number * 37 % 200));
        client.publish(room, json!(text));
        while text_of(&client.push()["pub"]["data"]) != text {}
    }
}

fn hear_all(mut witness: Centrifuge) -> HashMap<String, Vec<String>> {
    let mut heard: HashMap<String, Vec<String>> = HashMap::new();
    let mut open = ROOMS.len();
    while open > 0 {
        let push = witness.push();
        let room = push["channel"].as_str().expect("a room");
        let texts = heard.entry(room.to_owned()).or_default();
        texts.push(text_of(&push["pub"]["data"]).to_owned());
        assert_eq!(push["pub"]["offset"], texts.len());
        open -= usize::from(texts.last().is_some_and(|text| text == "over"));
    }
    heard
}

/// What a client has of one room.
#[derive(Default)]
struct Taken {
    epoch: String,
    last: u64,
    publications: Vec<(u64, String)>,
    recovered: usize,
    refused: usize,
}

impl Taken {
    fn resume(&self) -> Value {
        json!({ "recover": !self.epoch.is_empty(), "epoch": self.epoch, "offset": self.last })
    }

    /// Takes the result of a subscription.
    #[track_caller]
    fn came(&mut self, result: &Value, retained: u64) {
        let offset = result["offset"].as_u64().unwrap_or(0);
        let is_known = !self.epoch.is_empty();
        assert_eq!(result["was_recovering"].as_bool().unwrap_or(false), is_known, "{result}");
        if result["recovered"] == true {
            assert_eq!((offset, result["epoch"].as_str()), (self.last, Some(&*self.epoch)));
            result["publications"].as_array().into_iter().flatten().for_each(|one| self.take(one));
            self.recovered += 1;
            return;
        }
        assert!(result["publications"].is_null(), "{result}");
        if is_known {
            assert!(offset - self.last > retained, "refused from {} to {offset}", self.last);
            self.refused += 1;
        }
        self.last = offset;
        self.epoch = result["epoch"].as_str().expect("an epoch").to_owned();
    }

    #[track_caller]
    fn take(&mut self, publication: &Value) {
        assert_eq!(publication["offset"], self.last + 1, "no gap and no double");
        self.last += 1;
        self.publications.push((self.last, text_of(&publication["data"]).to_owned()));
    }
}

/// A client, with what it keeps from one connection to the next.
struct CutClient<'a> {
    live: &'a LiveRooms,
    manner: Manner,
    retained: u64,
    taken: HashMap<&'static str, Taken>,
}

impl CutClient<'_> {
    /// Comes back over this transport, and is cut after this many objects.
    fn come_and_be_cut(&mut self, transport: CentrifugeTransport, objects: usize) {
        let mut client = match self.manner {
            Manner::Subscribe => Centrifuge::connect_over(transport, self.live.http, None),
            Manner::ServerSide => self.connect_server_side(transport),
        };
        let mut replies: HashMap<u64, &str> = HashMap::new();
        if self.manner == Manner::Subscribe {
            let frame = ROOMS.iter().zip(100..).map(|(room, id)| {
                let mut request = self.taken[room].resume();
                request["channel"] = json!(room);
                replies.insert(id, room);
                json!({ "id": id, "subscribe": request }).to_string()
            });
            let frame: Vec<String> = frame.collect();
            client.send(frame.join("\n"));
        }
        for _ in 0..objects {
            self.live.permit(1);
            // The server has disconnected a client that it could not have join where the reply has said.
            let Some(object) = client.object_or_end() else { return };
            let object: Value = serde_json::from_str(&object).expect("JSON");
            if !object["push"]["disconnect"].is_null() {
                assert_eq!((self.manner, &object["push"]["disconnect"]["code"]), (Manner::ServerSide, &json!(3010)));
                return;
            }
            if let Some(id) = object["id"].as_u64() {
                let room = replies.remove(&id).expect("one reply for each");
                let retained = self.retained;
                self.of(room).came(&object["subscribe"], retained);
            } else {
                let room = object["push"]["channel"].as_str().expect("a room");
                assert!(replies.values().all(|waiting| *waiting != room), "{object} in front of the reply");
                self.of(room).take(&object["push"]["pub"]);
            }
        }
    }

    fn connect_server_side(&mut self, transport: CentrifugeTransport) -> Centrifuge {
        let subs: HashMap<&str, Value> = self.taken.iter().map(|(room, taken)| (*room, taken.resume())).collect();
        let token = token(&json!({ "sub": "cut", "channels": ROOMS }));
        // Something is published while it connects.
        self.live.permit(4);
        let (client, reply) =
            Centrifuge::connect_with(transport, self.live.http, json!({ "token": token, "subs": subs }));
        for room in ROOMS {
            let retained = self.retained;
            self.of(room).came(&reply["connect"]["subs"][room], retained);
        }
        client
    }

    fn of(&mut self, room: &str) -> &mut Taken {
        self.taken.get_mut(room).expect("one of its rooms")
    }
}

/// Cuts clients again and again and compares what they have taken. Returns how often they have recovered, and how often
/// they were refused.
fn cut_and_compare(shape: Shape, manner: Manner, retained: usize, cuts: usize, seed: u64) -> (usize, usize) {
    let Guarded { server, folder: _folder } = Guarded::start(shape, |settings| {
        settings.history_messages = retained;
        settings.outbox_messages = 1 << 20;
    });
    let live = LiveRooms::open(&server);
    let taken: Vec<Taken> = thread::scope(|scope| {
        let clients = (0..CLIENTS as u64).map(|number| {
            let (live, mut random) = (&live, Random(seed + number));
            scope.spawn(move || {
                let taken = ROOMS.map(|room| (room, Taken::default())).into();
                let mut client = CutClient { live, manner, retained: retained as u64, taken };
                for _ in 0..cuts {
                    let transport = TRANSPORTS[random.below(TRANSPORTS.len())];
                    client.come_and_be_cut(transport, random.below(16));
                    live.permit(random.below(12));
                }
                client.taken
            })
        });
        let clients: Vec<_> = clients.collect();
        let taken = clients.into_iter().map(|client| client.join().expect("it got what it could be sent"));
        let taken: Vec<_> = taken.collect();
        taken
            .into_iter()
            .flatten()
            .map(|(room, mut taken)| {
                taken.publications.iter_mut().for_each(|(_, text)| *text = format!("{room} {text}"));
                taken
            })
            .collect()
    });
    let rooms = live.close();
    for (offset, text) in taken.iter().flat_map(|taken| &taken.publications) {
        let (room, text) = text.split_once(' ').expect("a room");
        assert_eq!(rooms[room][*offset as usize - 1], text, "at {offset} of {room}");
    }
    taken.iter().fold((0, 0), |(recovered, refused), taken| (recovered + taken.recovered, refused + taken.refused))
}

#[test]
fn a_client_that_is_cut_at_any_moment_gets_each_publication_once_and_in_order() {
    harness::at_once(Shape::ALL, |shape| {
        let (recovered, _) = cut_and_compare(shape, Manner::Subscribe, 300, CUTS, 1);
        assert!(recovered > CUTS, "{recovered}");
    });
}

#[test]
fn a_client_that_the_server_has_join_its_rooms_gets_each_publication_once_and_in_order() {
    harness::at_once(Shape::ALL, |shape| {
        let (recovered, _) = cut_and_compare(shape, Manner::ServerSide, 300, CUTS, 2);
        assert!(recovered > CUTS, "{recovered}");
    });
}

#[test]
fn a_cut_client_is_refused_what_is_not_retained_and_nothing_else() {
    harness::at_once([Manner::Subscribe, Manner::ServerSide], |manner| {
        let (recovered, refused) = cut_and_compare(Shape::MANY, manner, 8, CUTS, 3);
        assert!(recovered > 0 && refused > 0, "{recovered} {refused}");
    });
}

#[test]
#[ignore = "slow: 10 000 cuts"]
fn clients_that_are_cut_thousands_of_times_lose_nothing_silently() {
    for (seed, retained) in [(1_000, 300), (2_000, 20), (3_000, 6)] {
        harness::at_once([Manner::Subscribe, Manner::ServerSide], |manner| {
            cut_and_compare(Shape::MANY, manner, retained, 14 * CUTS, seed);
            cut_and_compare(Shape::ONE, manner, retained, 14 * CUTS, seed + 500);
        });
    }
}
