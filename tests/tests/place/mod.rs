//! Where a test's streams are: on the server, or with a recorder. What holds for one holds for both, so
//! that the recorder cannot drift from what it stands for.

#![allow(dead_code, reason = "each test takes what it needs")]

use durstream_core::Options;
use durstream_core::testing::Recorder;
use durstream_tests::failure::Result;
use durstream_tests::readback::{read_bytes, read_stream};
use durstream_tests::{server_address, server_url};
use serde_json::Value;

/// A server of streams, real or within the process.
pub(crate) enum Place {
    /// The server that `cargo xtask with-server` started, read with plain HTTP.
    Server,
    /// A recorder of the test's own.
    Recorder(Recorder),
}

impl Place {
    /// A recorder of its own.
    pub(crate) fn recorder() -> Self {
        Place::Recorder(Recorder::new())
    }

    /// Options for streams here.
    pub(crate) fn options(&self) -> Options {
        match self {
            Place::Server => Options::new().endpoints(server_url()),
            Place::Recorder(recorder) => Options::new().endpoints(recorder.url()),
        }
    }

    /// The messages of a JSON stream.
    ///
    /// # Errors
    /// They cannot be read.
    pub(crate) fn events(&self, path: &str) -> Result<Vec<Value>> {
        match self {
            Place::Server => read_stream(server_address(), path),
            Place::Recorder(recorder) => {
                recorder.events(path).map_err(|error| error.to_string().into())
            }
        }
    }

    /// The bytes of a stream.
    ///
    /// # Errors
    /// They cannot be read.
    pub(crate) fn bytes(&self, path: &str) -> Result<Vec<u8>> {
        match self {
            Place::Server => read_bytes(server_address(), path),
            Place::Recorder(recorder) => {
                recorder.content(path).map(Vec::from).map_err(|error| error.to_string().into())
            }
        }
    }
}

/// Makes two tests of each function that takes a [`Place`]: one with the server, one with a recorder.
macro_rules! on_each_place {
    ($($test:ident),* $(,)?) => {
        mod on_the_server {
            $(#[test] fn $test() { super::$test(&crate::place::Place::Server); })*
        }
        mod on_a_recorder {
            $(#[test] fn $test() { super::$test(&crate::place::Place::recorder()); })*
        }
    };
}

pub(crate) use on_each_place;
