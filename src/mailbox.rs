//! The senders' side of a bounded mailbox: tell at once, or wait in turn. Never drops a message.

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

/// A mailbox as those see it who tell its owner. A clone costs two counts.
pub struct Mailbox<T>(mpsc::Sender<T>);

impl<T> Clone for Mailbox<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// The message that found its mailbox full, handed back.
#[derive(Debug)]
pub struct Full<T>(pub T);

impl<T> Mailbox<T> {
    /// The mailbox that this sends to.
    pub fn new(sender: mpsc::Sender<T>) -> Self {
        Self(sender)
    }

    /// Hands the message over if there is room and nobody waits for it already.
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

    /// Hands the message over: at once if there is room, else the future waits for it in the order in which they are first polled. It is not
    /// to be dropped half-way: the message would be lost with it. Small, since most clients hold one while they join.
    #[must_use = "a message that finds no room is handed over by the future"]
    pub fn send(&self, message: T) -> impl Future<Output = ()> {
        let waiting = self.try_send(message).err().map(|Full(message)| Box::pin(self.send_in_turn(message)));
        async move {
            if let Some(waiting) = waiting {
                waiting.await;
            }
        }
    }

    async fn send_in_turn(&self, message: T) {
        let sent = self.0.send(message).await;
        assert!(sent.is_ok(), "a mailbox outlives every handle to it");
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    #[test]
    fn nobody_overtakes_who_waits_for_room() {
        let (sender, mut receiver) = mpsc::channel(1);
        let mailbox = Mailbox::new(sender);
        let mut context = Context::from_waker(Waker::noop());
        mailbox.try_send(1).unwrap();
        let mut second = pin!(mailbox.send(2));
        assert!(second.as_mut().poll(&mut context).is_pending());
        let mut third = pin!(mailbox.send(3));
        assert!(third.as_mut().poll(&mut context).is_pending());

        assert_eq!(receiver.try_recv(), Ok(1));
        let Full(message) = mailbox.try_send(4).unwrap_err();
        assert_eq!(message, 4, "two wait, though there is room");
        assert!(third.as_mut().poll(&mut context).is_pending());
        assert!(second.as_mut().poll(&mut context).is_ready());
        assert_eq!(receiver.try_recv(), Ok(2));
        assert!(third.as_mut().poll(&mut context).is_ready());
        assert_eq!(receiver.try_recv(), Ok(3));
        mailbox.try_send(5).unwrap();
    }

    #[tokio::test]
    async fn a_full_mailbox_loses_nothing() {
        const MESSAGES: usize = 1_000;
        let (sender, mut receiver) = mpsc::channel(2);
        let mailbox = Mailbox::new(sender);
        let tell_every_other = |first: usize| {
            let mailbox = mailbox.clone();
            async move {
                for message in (first..MESSAGES).step_by(2) {
                    mailbox.send(message).await;
                }
            }
        };
        let receive_all = async {
            let mut received = Vec::new();
            while received.len() < MESSAGES {
                received.push(receiver.recv().await.unwrap());
            }
            received
        };
        let (mut received, (), ()) = tokio::join!(receive_all, tell_every_other(0), tell_every_other(1));
        assert!(received.iter().filter(|message| *message % 2 == 0).is_sorted());
        received.sort_unstable();
        assert_eq!(received, (0..MESSAGES).collect::<Vec<_>>());
    }
}
