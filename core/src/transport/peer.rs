//! A host, and how it is reached: what connections, their limits and their troubles belong to.

use std::sync::Arc;

use crate::transport::connect::Connect;
use crate::transport::endpoint::Endpoint;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Peer {
    pub(super) origin: String,
    pub(super) connect: Arc<Connect>,
}

impl Peer {
    pub(crate) fn of(endpoint: &Endpoint) -> Self {
        let origin = endpoint.url.origin().ascii_serialization();
        Peer { origin, connect: endpoint.connect.clone() }
    }
}
