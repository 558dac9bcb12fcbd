//! Appending the messages of a source: an iterator, or an async stream.

use std::fmt::Display;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use futures_core::Stream;

use crate::error::{Error, Result};
use crate::outcome::FlushReport;
use crate::runtime::threads::{on_own_thread, would_deadlock};
use crate::stream::handle::DurableStream;
use crate::stream::sink::{AppendSink, SinkState};

impl DurableStream {
    /// Appends every message that `source` gives, each as [`append`](Self::append) does, in order,
    /// and waits until all are delivered. The source is asked for the next one only while there is
    /// room: a slow server slows it down, and memory stays bounded however long it is. On a stream
    /// that is not JSON, empty messages are skipped.
    ///
    /// The source is asked no further once it gives an error or a message is not delivered.
    /// Dropping the future asks it no further either; its earlier messages are still appended,
    /// except one that found no room because other writers fill the buffer.
    ///
    /// # Errors
    /// `Delivery`, which counts the messages delivered and those not, with the first cause. If the
    /// source failed, that is `InvalidArgument` (`source`) with the source's own text, and its
    /// earlier messages are delivered.
    pub async fn append_stream<S, M, E>(&self, source: S) -> Result<FlushReport>
    where
        S: Stream<Item = Result<M, E>>,
        M: AsRef<[u8]>,
        E: Display,
    {
        let mut source = pin!(source);
        let sink = AppendSink::new(self, None)?;
        let ready = || poll_fn(|context| sink.poll_ready(context));
        loop {
            ready().await;
            if sink.state() == SinkState::Failed {
                break;
            }
            let next = poll_fn(|context| match source.as_mut().poll_next(context) {
                // A failure must show even while the source gives nothing.
                Poll::Pending if sink.poll_failed(context) => Poll::Ready(None),
                next => next,
            });
            let Some(message) = sink.given(next.await) else { break };
            while !sink.start_send(message.as_ref()) {
                ready().await;
            }
        }
        poll_fn(|context| sink.poll_close(context)).await
    }

    /// Appends every message of an iterator as [`append_stream`](Self::append_stream) does. Blocks
    /// the thread.
    ///
    /// # Errors
    /// The errors of `append_stream`; `NotSupported` (`would-deadlock`) inside a callback of this
    /// library.
    pub fn blocking_append_stream<I, M, E>(&self, source: I) -> Result<FlushReport>
    where
        I: IntoIterator<Item = Result<M, E>>,
        M: AsRef<[u8]>,
        E: Display,
    {
        if on_own_thread() {
            return Err(would_deadlock());
        }
        let mut source = source.into_iter();
        let sink = AppendSink::new(self, None)?;
        loop {
            match sink.state() {
                SinkState::Full => sink.ready().wait()?,
                SinkState::Failed => break,
                SinkState::Ready => {
                    let Some(message) = sink.given(source.next()) else { break };
                    while !sink.start_send(message.as_ref()) {
                        sink.ready().wait()?;
                    }
                }
            }
        }
        sink.close().wait()
    }
}

impl AppendSink {
    /// The next message, unless the source has come to its end, good or bad.
    fn given<M, E: Display>(&self, next: Option<std::result::Result<M, E>>) -> Option<M> {
        match next? {
            Ok(message) => Some(message),
            Err(error) => {
                self.fail(Error::option("source", format!("the source failed: {error}")));
                None
            }
        }
    }
}
