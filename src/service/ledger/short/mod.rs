//! The short road: one posting that comes alone. Its statement starts in half the time of the one that takes a list.

mod store;

use sqlx::PgConnection;

use super::{
    CardKey,
    plan::Step,
    store::{Draft, Stand},
};

/// Writes the only draft of a flight. None: there are more, or its answer is kept under a key.
pub(super) async fn write(
    connection: &mut PgConnection,
    drafts: &[Draft],
    steps: &[Step],
) -> Option<std::result::Result<Vec<(CardKey, Stand)>, sqlx::Error>> {
    match (drafts, steps) {
        ([draft], [step]) if draft.kept.is_none() => Some(store::write(connection, draft, step).await.map(|stand| vec![stand])),
        _ => None,
    }
}
