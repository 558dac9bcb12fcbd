//! Entity state: collections with a schema, a type and a primary key, whose upserts and deletes
//! become events of the State Protocol.

mod change;
pub(crate) mod collection;
pub(crate) mod event;
pub(crate) mod inspect;
pub(crate) mod producer;
mod registry;
pub(crate) mod schema;
mod tracked;
pub(crate) mod transaction;
