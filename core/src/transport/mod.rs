//! How one attempt travels: from an endpoint to an answer, over HTTP or, in tests, to a model server.

pub(crate) mod authorize;
mod contact;
pub(crate) mod departure;
pub(crate) mod endpoint;
mod gate;
pub(crate) mod header_values;
pub(crate) mod http_client;
mod lanes;
mod names;
pub(crate) mod network;
mod proxies;
pub(crate) mod redirects;
pub(crate) mod request;
pub(crate) mod route;
#[cfg(test)]
pub(crate) mod scripted;
