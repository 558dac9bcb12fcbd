//! The writers of plain appends: one identity per process and stream, however many handles there
//! are and however short they live. Servers remember every identity they see.

use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::{Arc, Mutex};

use http::HeaderMap;

use super::DurableStream;
use crate::error::Result;
use crate::options::Options;
use crate::producer::IdempotentProducer;
use crate::runtime::{lock, random};

/// How many writers are kept for handles to come.
const KEPT: usize = 256;

/// A writer, and what a handle that may use it has.
pub(super) struct Writer {
    producer: IdempotentProducer,
    /// None for one that asks functions: those are their handle's own.
    of: Option<Likeness>,
}

impl Deref for Writer {
    type Target = IdempotentProducer;

    fn deref(&self) -> &IdempotentProducer {
        &self.producer
    }
}

/// What makes no difference to appends is left out.
#[derive(PartialEq)]
struct Likeness {
    url: String,
    headers: HeaderMap,
    content_type: String,
    options: Options,
}

impl Likeness {
    fn of(stream: &DurableStream) -> Option<Self> {
        let endpoint = stream.endpoint();
        endpoint.functions.is_none().then(|| Likeness {
            url: endpoint.url.to_string(),
            headers: endpoint.headers.clone(),
            content_type: stream.content_type().to_owned(),
            options: stream.limits().clone().without_place(),
        })
    }
}

/// The writers of this process, the last used at the end.
#[derive(Default)]
pub(crate) struct Writers(Mutex<VecDeque<Arc<Writer>>>);

impl Writers {
    /// The writer for a handle: the one that others like it have, while it takes anything.
    pub(super) fn of(&self, stream: &DurableStream) -> Result<Arc<Writer>> {
        let mut kept = lock(&self.0);
        let likeness = Likeness::of(stream);
        let known = kept.iter().position(|writer| likeness.is_some() && writer.of == likeness);
        let known = known.and_then(|n| kept.remove(n));
        let is_fit =
            |known: &Arc<Writer>| known.takes_writes() && known.is_open_to(stream.number());
        let (writer, unfit) = match known {
            Some(known) if is_fit(&known) => {
                // The next one's stream holds what this one writes, as if it had been told.
                drop(stream.take_tail());
                (known, None)
            }
            known => {
                let id = format!("durstream-{:016x}", random());
                // A handle that had the other one appends in the order of its calls.
                let other = known.as_ref().map(|writer| &writer.producer);
                let producer = IdempotentProducer::open_awaited(stream, &id, other)?;
                (Arc::new(Writer { producer, of: likeness }), known)
            }
        };
        if writer.of.is_some() {
            kept.push_back(writer.clone());
        }
        let oldest = if kept.len() > KEPT { kept.pop_front() } else { None };
        drop(kept);
        drop((oldest, unfit)); // not under the lock: they end
        Ok(writer)
    }

    /// Forgets those of a stream that begins anew: its server knows none of them.
    pub(super) fn forget(&self, stream: &DurableStream) {
        // Whatever credentials they have.
        let is_its = |writer: &Arc<Writer>| writer.url() == stream.url();
        let mut kept = lock(&self.0);
        let (its, others) = std::mem::take(&mut *kept).into_iter().partition(is_its);
        *kept = others;
        drop(kept);
        drop::<VecDeque<_>>(its); // not under the lock: they end
    }

    /// Forgets all.
    pub(crate) fn clear(&self) {
        let kept = std::mem::take(&mut *lock(&self.0));
        drop(kept); // not under the lock: they end
    }
}
