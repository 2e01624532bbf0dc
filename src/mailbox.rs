//! The senders' side of a bounded mailbox: send at once, or wait in turn. Never drops a message.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

/// A mailbox as its senders see it. A clone costs two counts.
pub struct Mailbox<T>(mpsc::Sender<T>);

impl<T> Clone for Mailbox<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// A message that found its mailbox full.
#[derive(Debug)]
pub struct Full<T>(pub T);

impl<T> Mailbox<T> {
    /// The senders' side of the channel. Its receiver must outlive every sender.
    pub fn new(sender: mpsc::Sender<T>) -> Self {
        Self(sender)
    }

    /// Sends the message if there is room and no other message waits for it.
    ///
    /// # Errors
    /// The message, when it would have to wait.
    pub fn try_send(&self, message: T) -> Result<(), Full<T>> {
        match self.0.try_send(message) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(message)) => Err(Full(message)),
            Err(TrySendError::Closed(_)) => unreachable!("a mailbox outlives every handle to it"),
        }
    }

    /// Sends the message at once if there is room; else the returned value waits for room, in the order of the first
    /// polls. It must not be dropped before it is ready: the message would be lost.
    pub fn send(&self, message: T) -> Sending
    where
        T: 'static,
    {
        let Err(Full(message)) = self.try_send(message) else { return Sending(None) };
        let sender = self.0.clone();
        Sending(Some(Box::pin(async move {
            assert!(sender.send(message).await.is_ok(), "a mailbox outlives every handle to it");
        })))
    }
}

/// A message on its way into a mailbox. Small, since most clients hold one while they join.
#[must_use = "a message that finds no room is sent by the future"]
pub struct Sending(Option<Pin<Box<dyn Future<Output = ()>>>>);

impl Future for Sending {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if let Some(waiting) = &mut self.0 {
            ready!(waiting.as_mut().poll(context));
            self.0 = None;
        }
        Poll::Ready(())
    }
}
