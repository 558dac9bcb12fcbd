//! The target of a handle: where its stream is, and the settings of requests to it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Method;

use crate::delivery::config::{Config, Create};
use crate::error::Result;
use crate::options::{Options, Scope};
use crate::protocol::stream_type::{DEFAULT_CONTENT_TYPE, StreamType};
use crate::requests::retry::{Retries, request_timeout, retries};
use crate::runtime::fork::made_in;
use crate::runtime::threads::{lock, lock_inherited};
use crate::transport::endpoint::Endpoint;
use crate::transport::request::Request;

pub(crate) struct Target {
    pub(super) options: Options,
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) content_type: StreamType,
    request_timeout: Duration,
    retries: Retries,
    /// The largest body of one answer to a read.
    pub(super) max_read_bytes: usize,
    /// The fork generation it was made in.
    pub(super) generation: u64,
    /// Where the stream ended when this handle created it, until a writer takes it.
    tail: Mutex<Option<Arc<str>>>,
}

impl Target {
    pub(super) fn new(options: Options, endpoint: Arc<Endpoint>, content_type: StreamType) -> Self {
        Target {
            request_timeout: request_timeout(&options),
            retries: retries(&options),
            max_read_bytes: options.number("max_read_bytes", options.max_read_bytes) as usize,
            options,
            endpoint,
            content_type,
            generation: made_in(),
            tail: Mutex::default(),
        }
    }

    /// The stream's URL, without user info and query.
    pub(super) fn url(&self) -> &Arc<str> {
        &self.endpoint.shown
    }

    /// A request without a body.
    pub(super) fn request(&self, method: Method) -> Request {
        Request::new(method, self.endpoint.clone(), self.request_timeout)
    }

    pub(super) fn retries(&self) -> &Retries {
        &self.retries
    }

    pub(super) fn set_tail(&self, tail: Option<Arc<str>>) {
        *lock(&self.tail) = tail;
    }

    /// Where the stream ended when this handle created it: for the first writer that asks, since by
    /// then the stream of a later writer holds the first one's messages.
    pub(crate) fn take_tail(&self) -> Option<Arc<str>> {
        // Unknown in a forked child whose parent was about to take it.
        lock_inherited(&self.tail, self.generation).ok()?.take()
    }

    /// The settings of a producer on the stream: limits that `options` do not set are those of the
    /// handle.
    pub(crate) fn producer_config(&self, producer_id: &str, options: &Options) -> Result<Config> {
        let options = options.clone().or_limits_of(&self.options);
        let (scope, content_type) = (Scope::Producer, self.content_type.clone());
        let mut config = Config::new(scope, &options, producer_id, content_type)?;
        if self.options.ttl_seconds.is_some() {
            let content_type = self.content_type.text().unwrap_or(DEFAULT_CONTENT_TYPE);
            config.create = Some(Create::of(&self.options, content_type, false)?);
        }
        config.retries.max_retries = self.retries.max_retries; // for `close`
        Ok(config)
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Holds the lock, as a thread in the middle of an open does.
    #[cfg(all(test, unix))]
    pub(super) fn hold_tail(&self) -> impl Sized + '_ {
        lock(&self.tail)
    }
}
