//! The transport of a runtime: HTTP, redirects around it, recorders beside them, and header functions
//! around those.

use std::sync::Arc;

#[cfg(test)]
use crate::runtime::chance::Chance;
use crate::runtime::io::Runtime;
use crate::transport::authorize::Authorize;
use crate::transport::http_client::HttpTransport;
use crate::transport::recorder::OrRecorder;
use crate::transport::redirects::Redirects;
use crate::transport::request::Transport;

/// The transport of a runtime's requests. Its connections end with the runtime.
struct Network(Arc<dyn Transport>);

impl Network {
    fn over(inner: Arc<dyn Transport>, runtime: &Runtime) -> Self {
        Network(Arc::new(Authorize::new(inner, runtime.header_dispatcher().clone())))
    }
}

/// The transport of a runtime, made at first use.
pub(crate) fn of(runtime: &Runtime) -> Arc<dyn Transport> {
    let chance = || runtime.chance().clone();
    let http = || Arc::new(OrRecorder::new(Redirects::new(HttpTransport::new(chance()), chance())));
    runtime.attached(|| Network::over(http(), runtime)).0.clone()
}

/// A runtime over the test's own executor, and over a transport of the test's.
#[cfg(test)]
pub(crate) fn for_test(transport: Arc<dyn Transport>, chance: Chance) -> Arc<Runtime> {
    over(Runtime::for_test(chance), transport)
}

/// A runtime over the test's own executor without a thread: everything follows from the seed.
#[cfg(test)]
pub(crate) fn simulated(transport: Arc<dyn Transport>, chance: Chance) -> Arc<Runtime> {
    over(Runtime::simulated(chance), transport)
}

#[cfg(test)]
fn over(runtime: Runtime, transport: Arc<dyn Transport>) -> Arc<Runtime> {
    runtime.attached(|| Network::over(transport, &runtime));
    Arc::new(runtime)
}
