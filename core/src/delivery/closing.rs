//! Ending a stream behind what was accepted: one close at a time, whose result answers for repeats.

use std::sync::Arc;

use crate::delivery::buffer::lifecycle::{End, Stop};
use crate::delivery::engine::Engine;
use crate::error::{Detail, Error, ErrorKind, Result};
use crate::outcome::{CloseResult, FlushReport};
use crate::requests::operations;
use crate::runtime::pending::{Pending, pending};

/// The end of a stream: its last message and the identity it is sent with.
pub(crate) enum CloseWith {
    Message(Vec<u8>),
    /// Nothing, under the producer's identity: the end of another producer is an error.
    AsProducer,
    /// Nothing, and no identity: a stream that anybody closed counts as closed.
    Unidentified,
}

impl CloseWith {
    pub(crate) fn of(message: Option<&[u8]>) -> Self {
        message.map_or(CloseWith::AsProducer, |message| CloseWith::Message(message.to_vec()))
    }

    /// The result after another holder's close, which did not take this last message.
    fn behind(&self, engine: &Engine, end: CloseResult) -> Result<CloseResult> {
        match self {
            CloseWith::Message(_) => Err(is_closed(engine, end)),
            CloseWith::AsProducer | CloseWith::Unidentified => Ok(end),
        }
    }
}

/// Ends an engine's stream: flush, end the stream, stop. The first close's result answers for
/// repeats.
pub(crate) fn close(engine: &Arc<Engine>, last: CloseWith) -> Pending<CloseResult> {
    close_by(0, engine, last)
}

/// Ends the stream for one of several holders of the engine, by its number. Behind another holder's
/// close, a last message of this one is an error.
pub(crate) fn close_by(by: u64, engine: &Arc<Engine>, last: CloseWith) -> Pending<CloseResult> {
    let (completer, result) = pending();
    let result = engine.hindering(result);
    let (flushed, due) = {
        let mut guard = engine.closes();
        let closes = guard.get_or_insert_default();
        let is_others = closes.by != by;
        if let Some(end) = closes.result.clone() {
            return Pending::ready(if is_others { last.behind(engine, end) } else { Ok(end) });
        }
        closes.waiters.push(completer);
        let mut book = engine.book();
        if book.lifecycle.is_closing() {
            drop((book, guard));
            return if is_others { close_behind(result, by, engine, last) } else { result };
        }
        closes.by = by;
        engine.begin_close(&mut book)
    };
    due.complete();
    engine.wake.notify_one();
    let runtime = engine.runtime().clone();
    let mut closing = Closing { engine: engine.clone(), ended: false };
    runtime.spawn(async move {
        let outcome = end_stream(&closing.engine, flushed, last).await;
        closing.end(outcome);
    });
    result
}

/// Waits for another holder's close that is under way, and closes only if that fails.
fn close_behind(
    other: Pending<CloseResult>,
    by: u64,
    engine: &Arc<Engine>,
    last: CloseWith,
) -> Pending<CloseResult> {
    let (completer, result) = pending();
    let engine = engine.clone();
    other.on_complete(move |ended| match ended {
        Ok(end) => completer.complete(last.behind(&engine, end)),
        Err(_) => close_by(by, &engine, last).on_complete(|own| completer.complete(own)),
    });
    result
}

/// The error of a call behind the stream's end.
pub(crate) fn is_closed(engine: &Engine, end: CloseResult) -> Error {
    let detail = Detail::StreamClosed { final_offset: end.final_offset };
    let error = Error::new(ErrorKind::StreamClosed, "the stream is closed: this process closed it");
    error.with_detail(detail).with_url(&engine.endpoint.shown)
}

/// A close under way: dropped without an end, it fails for every caller that waits.
struct Closing {
    engine: Arc<Engine>,
    ended: bool,
}

impl Closing {
    fn end(&mut self, outcome: Result<CloseResult>) {
        self.ended = true; // a close begun by a caller that is told of this one is a new one
        let engine = &self.engine;
        let waiters = {
            let mut guard = engine.closes();
            let closes = guard.get_or_insert_default();
            if let Ok(done) = &outcome {
                closes.result = Some(done.clone());
            }
            engine.book().lifecycle.end_close(); // under `closes`: the next call closes anew
            std::mem::take(&mut closes.waiters)
        };
        if outcome.is_ok() {
            engine.begin_stop();
        }
        engine.wake.notify_one();
        waiters.into_iter().for_each(|waiter| waiter.complete(outcome.clone()));
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        if !self.ended {
            self.end(Err(Error::closed()));
        }
    }
}

async fn end_stream(
    engine: &Arc<Engine>,
    flushed: Pending<FlushReport>,
    last: CloseWith,
) -> Result<CloseResult> {
    flushed.await?;
    // This producer must not end the stream any more: a fenced producer's successor writes to it.
    if let (Some(End::Failed | End::Fenced), Some(error)) = {
        let book = engine.book();
        (book.lifecycle.end(), book.lifecycle.error().cloned())
    } {
        return Err(error);
    }
    let final_offset = match last {
        CloseWith::Message(message) => {
            let id = engine.accept_last(&message)?;
            let outcome = engine.wait(id).await?;
            if let Some(error) = outcome.error {
                let _ = engine.flush().await; // reported here, and not again by the next flush
                return Err(error);
            }
            if outcome.duplicate && engine.config.is_replay {
                // The earlier write that it repeats need not have ended the stream.
                end_plainly(engine).await?
            } else {
                outcome.offset
            }
        }
        CloseWith::AsProducer => match end_as_producer(engine).await {
            // Drained before it was closed, as after an abort: its identity went with its task.
            Err(error)
                if error.kind() == ErrorKind::ProducerClosed
                    && engine.book().lifecycle.stop() == Stop::Drain =>
            {
                end_plainly(engine).await?
            }
            other => other?,
        },
        CloseWith::Unidentified => end_plainly(engine).await?,
    };
    Ok(CloseResult { final_offset })
}

async fn end_as_producer(engine: &Engine) -> Result<Option<Arc<str>>> {
    let outcome = engine.end()?.await?;
    outcome.error.map_or(Ok(outcome.offset), Err)
}

async fn end_plainly(engine: &Engine) -> Result<Option<Arc<str>>> {
    let (timeout, retries) = (engine.config.request_timeout, &engine.config.retries);
    operations::close(engine.runtime(), engine.endpoint.clone(), timeout, retries).await
}
