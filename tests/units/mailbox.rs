//! The sending side of a mailbox.

use std::pin::pin;
use std::task::{Context, Waker};

use roomcast::mailbox::{Full, Mailbox};
use tokio::sync::mpsc;

#[test]
fn a_message_never_overtakes_those_that_wait_for_room() {
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
    assert_eq!(message, 4, "two messages wait, though there is room");
    assert!(third.as_mut().poll(&mut context).is_pending());
    assert!(second.as_mut().poll(&mut context).is_ready());
    assert_eq!(receiver.try_recv(), Ok(2));
    assert!(third.as_mut().poll(&mut context).is_ready());
    assert_eq!(receiver.try_recv(), Ok(3));
    mailbox.try_send(5).unwrap();
}
