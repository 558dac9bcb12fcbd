//! The waits of receipts.

use durstream_core::Producer;
use napi_derive::napi;

use crate::crossing::{guarded, outcome};
use crate::wait::Wait;

/// The waits of a producer's receipts, which hold nothing open.
#[napi]
pub struct Receipts {
    receipts: durstream_core::Receipts,
}

impl Receipts {
    /// Those of either producer.
    pub fn of(producer: &impl Producer) -> Self {
        Receipts { receipts: producer.receipts() }
    }
}

#[napi]
impl Receipts {
    /// Waits for the outcome of an accepted write.
    #[napi]
    pub fn wait(&self, id: f64) -> napi::Result<Wait> {
        guarded(|| Ok(Wait::new(self.receipts.wait(id as u64), outcome)))
    }
}
