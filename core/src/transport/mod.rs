//! How one attempt travels: from an endpoint to an answer, over HTTP, to a recorder or, in tests, to a
//! model server.

pub(crate) mod authorize;
pub(crate) mod connect;
mod contact;
pub(crate) mod departure;
#[cfg(target_os = "linux")]
mod descriptors;
pub(crate) mod endpoint;
pub(crate) mod gate;
pub(crate) mod header_values;
mod hedge;
pub(crate) mod http_client;
mod lanes;
mod names;
pub(crate) mod network;
pub(crate) mod peer;
pub(crate) mod progress;
mod proxies;
pub(crate) mod recorder;
pub(crate) mod redirects;
pub(crate) mod request;
pub(crate) mod route;
#[cfg(test)]
pub(crate) mod scripted;
mod socket;
pub(crate) mod tls;
mod way;
