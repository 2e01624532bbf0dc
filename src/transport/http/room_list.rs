//! The list of rooms over plain HTTP, as `LIST` shows it to clients.

use std::io::Write;

use hyper::Request;
use hyper::body::Incoming;

use super::HttpServer;
use super::bearer::verified;
use super::body::Answer;
use super::refusals::RequestSummary;
use super::requests::HttpConnection;
use super::rooms::{Refused, json_in_memory};
use crate::protocol::listing::Listing;
use crate::protocol::names::RoomName;
use crate::protocol::room_events::write_string;
use crate::session::outsider::Outsider;

impl HttpServer {
    /// Answers a request for the list of rooms. The list is as old as the listing cache allows.
    pub(super) async fn answer_rooms(
        &self,
        request: &Request<Incoming>,
        connection: &HttpConnection<'_>,
        summary: &RequestSummary,
    ) -> Answer {
        let answered = self.list_rooms(request, connection).await;
        answered.unwrap_or_else(|refused| self.refuse_with_problem(refused, false, summary))
    }

    async fn list_rooms(
        &self,
        request: &Request<Incoming>,
        connection: &HttpConnection<'_>,
    ) -> Result<Answer, Refused> {
        self.check_served(connection)?;
        // Held until the shards have answered: what follows is bounded by the memory of all answers.
        let (address, _permit) = self.admit(request.headers(), connection)?;
        let token = verified(&self.context, request)?;
        let memory = self.memory_of_answer().await?;
        let sessions = self.sessions()?;
        let rooms = sessions.list_rooms(&Outsider { token: token.as_deref(), address }).await?;
        Ok(json_in_memory(list(&rooms), memory, &sessions))
    }
}

/// The answer with the names of the rooms, and the number of those that are left out.
fn list(rooms: &Listing<RoomName>) -> Vec<u8> {
    let mut json = b"{\"rooms\":[".to_vec();
    for (number, room) in rooms.names().iter().enumerate() {
        json.extend_from_slice(if number == 0 { b"" } else { b"," });
        write_string(room.as_str(), &mut json);
    }
    writeln!(json, "],\"more\":{}}}", rooms.more()).expect("a vector accepts every byte");
    json
}
