//! What was accepted, on disk until it is settled: an outbox survives the process, and as it is
//! told the machine too. `core/docs/adr/outbox.md` has the format and why it is so.

// The map, as in `lib.rs`.
//
//   look                       what is in outboxes, for people; takes no lock
//   orphans                    those of workers that died
//   store                      the outbox of one producer: append, sent, settled, read
//   recover                    what is found at the opening, and what is wrong with it
//   control                    the two control files: what became of the writes
//   spare                      the file of the next segment, ready
//   segment sync               a file of writes; making all of it durable
//   scan real model            reads a segment's records, pure; the system's disk; one for tests
//   about                      whose an outbox is
//   disk owner                 what is asked of a disk; who has an outbox open
//   format names               the bytes, pure; names of files
//   ledger                     what is known of the writes, pure

pub(crate) mod about;
pub(crate) mod control;
pub(crate) mod disk;
pub(crate) mod format;
pub(crate) mod ledger;
pub(crate) mod look;
#[cfg(test)]
pub(crate) mod model;
pub(crate) mod names;
pub(crate) mod orphans;
pub(crate) mod owner;
pub(crate) mod real;
pub(crate) mod recover;
pub(crate) mod scan;
pub(crate) mod segment;
pub(crate) mod spare;
pub(crate) mod store;
pub(crate) mod sync;
#[cfg(test)]
mod tests;

pub(crate) use about::Place;
pub(crate) use disk::Disk;
pub(crate) use format::Entry;
pub(crate) use ledger::{Base, Range, RangeState, Sent, SentFlags, Session};
pub(crate) use real::RealDisk;
pub(crate) use recover::Lost;
pub(crate) use store::{Ahead, Chores, Found, Outbox, Recovery, Sizes, SyncMode};
pub(crate) use sync::Syncer;
