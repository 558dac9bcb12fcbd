//! Delivered writes, as the delivery callback receives them.

use std::ptr;

use durstream_core::Delivery;

use crate::ffi_guard::get;
use crate::outcome::durstream_outcome;

/// Writes that were delivered together: `count` of them, whose receipt ids follow each other. Owned
/// by the library until the callback returns.
pub struct durstream_delivery {
    delivery: Delivery,
    outcome: durstream_outcome,
}

impl durstream_delivery {
    pub(crate) fn new(delivery: Delivery) -> Self {
        let outcome = durstream_outcome::new(delivery.outcome.clone());
        durstream_delivery { delivery, outcome }
    }
}

/// The receipt id of the first write; each next id is greater by 1. The callback's thread; does not
/// block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_delivery_first_id(delivery: *const durstream_delivery) -> u64 {
    // SAFETY: NULL or the delivery the callback is about.
    unsafe { get(0, || Some(delivery.as_ref()?.delivery.first_id)) }
}

/// How many writes there are; 0 only for NULL. The callback's thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_delivery_count(delivery: *const durstream_delivery) -> usize {
    // SAFETY: NULL or the delivery the callback is about.
    unsafe { get(0, || usize::try_from(delivery.as_ref()?.delivery.count).ok()) }
}

/// The tag of each write, 0 for none, in the order of the ids: as many as there are writes, or NULL
/// where no write has one. Owned by the delivery: copy it to keep it after the callback. The
/// callback's thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_delivery_tags(
    delivery: *const durstream_delivery,
) -> *const u64 {
    // SAFETY: NULL or the delivery the callback is about.
    unsafe {
        get(ptr::null(), || {
            let tags = &delivery.as_ref()?.delivery.tags;
            Some(if tags.is_empty() { ptr::null() } else { tags.as_ptr() })
        })
    }
}

/// The outcome that the writes share: `DURSTREAM_STATUS_DELIVERED`, whether they may be there
/// twice, the offset after the last one. Owned by the delivery, not to be freed. The callback's
/// thread; does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn durstream_delivery_outcome(
    delivery: *const durstream_delivery,
) -> *const durstream_outcome {
    // SAFETY: NULL or the delivery the callback is about.
    unsafe { get(ptr::null(), || Some(&raw const delivery.as_ref()?.outcome)) }
}
