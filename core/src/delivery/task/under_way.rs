//! The requests of a task that are under way.

use tokio::task::{AbortHandle, Id, JoinError, JoinSet};

use crate::delivery::task::slot::Answered;

/// Holds nothing while the producer rests.
#[derive(Default)]
pub(super) struct UnderWay(Option<JoinSet<Answered>>);

impl UnderWay {
    pub(super) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, JoinSet::len)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn spawn(
        &mut self,
        request: impl Future<Output = Answered> + Send + 'static,
    ) -> AbortHandle {
        self.0.get_or_insert_default().spawn(request)
    }

    pub(super) fn abort_all(&mut self) {
        self.0.iter_mut().for_each(JoinSet::abort_all);
    }

    /// The end of one of them. `None` if there is none.
    pub(super) async fn next(&mut self) -> Option<Result<(Id, Answered), JoinError>> {
        self.0.as_mut()?.join_next_with_id().await
    }

    pub(super) fn rest(&mut self) {
        self.0.take_if(|requests| requests.is_empty());
    }
}
