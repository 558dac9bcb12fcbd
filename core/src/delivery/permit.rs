//! [`Permit`]: room in the buffer for one write, reserved before the write is made.

use std::mem;
use std::sync::Arc;

use crate::delivery::buffer::batch::Tag;
use crate::delivery::engine::Engine;
use crate::delivery::engine::accept::Checked;
use crate::error::Result;

/// A producer of this crate.
pub(crate) trait HasEngine {
    fn engine(&self) -> &Arc<Engine>;

    /// Room for a write of so many bytes, as a permit.
    fn permit(&self, size: usize) -> Option<Permit<'_, Self>>
    where
        Self: Sized,
    {
        Permit::of(self, size, size)
    }
}

/// Room in the buffer of a producer for one write. The write takes from it what it needs, and the
/// rest is free again; so is all of it where the permit is dropped.
///
/// A permit that waits for its write keeps room from others, so it should not be held for long.
#[must_use = "dropped, it gives the room back"]
#[expect(private_bounds, reason = "there are no other producers than this crate's")]
pub struct Permit<'a, P: HasEngine> {
    pub(crate) producer: &'a P,
    /// The bytes it holds; 0 where the write will be refused and needs none.
    held: u64,
}

#[expect(private_bounds, reason = "there are no other producers than this crate's")]
impl<'a, P: HasEngine> Permit<'a, P> {
    /// The permit of a write that will be refused.
    pub(crate) fn of_nothing(producer: &'a P) -> Self {
        Permit { producer, held: 0 }
    }

    /// Reserves room for a write of `size` bytes, of which its producer makes `most` at the most.
    pub(crate) fn of(producer: &'a P, size: usize, most: usize) -> Option<Self> {
        Some(Permit { producer, held: producer.engine().hold(size, most)? })
    }

    /// Accepts a write into the room.
    pub(crate) fn accept(&mut self, parts: &[&[u8]], checked: Checked, tag: Tag) -> Result<u64> {
        self.producer.engine().accept_held(parts, checked, tag, &mut self.held)
    }
}

impl<P: HasEngine> Drop for Permit<'_, P> {
    fn drop(&mut self) {
        let engine: &Engine = self.producer.engine();
        match mem::take(&mut self.held) {
            0 => {}
            held => engine.release_held(held),
        }
    }
}
