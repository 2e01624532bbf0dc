//! The server API: what the backend of an application asks of the server. Knows rooms and clients, and no connection.
