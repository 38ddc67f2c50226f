//! What an attempt without a response came to.

use std::{error::Error, io, iter};

use crate::domain::webhook::outcome::AttemptOutcome;

/// What an attempt came to whose TLS failed before anything else was sent.
pub(super) fn outcome_of_handshake(error: &io::Error) -> AttemptOutcome {
    // A server that wants no TLS commonly hangs up.
    if error.kind() == io::ErrorKind::UnexpectedEof { AttemptOutcome::Tls } else { outcome_of(error) }
}

/// What an attempt came to that ended with this error.
pub(super) fn outcome_of(error: &(dyn Error + 'static)) -> AttemptOutcome {
    // A server may refuse the client after the handshake, as the last message of it is the server's.
    if causes(error).any(<dyn Error>::is::<rustls::Error>) { AttemptOutcome::Tls } else { AttemptOutcome::Connection }
}

/// The error and its causes.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    iter::successors(Some(error), |&error| {
        // The source of an `io::Error` is that of the error in it, which would be left out.
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => error.source(),
        }
    })
}
