//! Runs cases with one adapter, which is started anew whenever a case left it in doubt.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use durstream_tests::failure::{Context, Result};
use durstream_tests::network::front::{Front, ServerConfig};
use durstream_tests::proxy::Proxy;
use durstream_tests::{fresh_path, http};
use serde_json::{Value, json};

use super::adapter::{Adapter, Program};
use super::case::{self, Case, Operation, Step};
use super::variables::Variables;
use super::{judge, stream};
use durstream_tests::signals;

/// How long the proxy's log may lag behind what the adapter has already been answered.
const LOG_LAG: Duration = Duration::from_secs(30);
/// How long a request may take to come to the proxy.
const HELD_LIMIT: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(5);

/// An adapter between the cases and a server of its own proxy.
pub(crate) struct Bench {
    program: Program,
    server: SocketAddr,
    proxy: Proxy,
    /// Before the proxy, where adapters speak TLS.
    front: Option<Front>,
    adapter: Option<Adapter>,
}

impl Bench {
    pub(crate) fn new(
        program: Program,
        server: SocketAddr,
        tls: Option<ServerConfig>,
    ) -> Result<Self> {
        let proxy = Proxy::start(server)?;
        let front = tls.map(|config| Front::start(proxy.address(), config)).transpose()?;
        Ok(Self { program, server, proxy, front, adapter: None })
    }

    /// What adapters are told.
    fn url(&self) -> String {
        self.front.as_ref().map_or_else(|| self.proxy.url(), Front::url)
    }

    /// Starts the adapter if it does not run; the reason why it cannot.
    pub(crate) fn start(&mut self) -> Result {
        if self.adapter.is_none() {
            self.adapter = Some(Adapter::start(&self.program, &self.url())?);
        }
        Ok(())
    }

    /// Runs a case on a stream of its own; the failure names the operation.
    pub(crate) fn run(&mut self, case: &Case) -> Result {
        self.proxy.clear_log();
        let result = self.run_operations(case);
        if result.is_err() {
            self.adapter = None; // whatever state it is in, no other case sees it
        }
        self.proxy.clear();
        result
    }

    /// Ends the adapter as a program ends; it must do so in order.
    pub(crate) fn finish(&mut self) -> Result {
        self.adapter.take().map_or(Ok(()), Adapter::shut_down)
    }

    fn run_operations(&mut self, case: &Case) -> Result {
        self.start()?;
        let url = self.url();
        self.adapter()?.init(&url)?;
        let mut variables = Variables::default();
        let path = format!("/v1/stream{}", fresh_path(&format!("conformance/{}", case.id)));
        variables.set("path", path.into());
        // Another origin by its name, and the same proxy to see what is sent there.
        variables.set("elsewhere", other_name(&url).into());
        variables.set("server", url.into());
        for (index, operation) in case.operations.iter().enumerate() {
            signals::check()?;
            let place = format!("operation {} ({})", index + 1, operation.name());
            self.perform(operation, &mut variables).context(place)?;
        }
        Ok(())
    }

    fn adapter(&mut self) -> Result<&mut Adapter> {
        self.adapter.as_mut().ok_or_else(|| "the adapter does not run".into())
    }

    fn perform(&mut self, operation: &Operation, variables: &mut Variables) -> Result {
        match operation {
            Operation::Command { name, fields, expect, save } => {
                let mut command = variables.fill_all(fields)?;
                command.insert("type".to_owned(), json!(name));
                let expect = expect.filled(variables)?;
                let answer = self.adapter()?.send(&Value::Object(command))?;
                judge::judge(name, &expect, &answer)?;
                for (variable, value) in judge::saved(save, &answer)? {
                    variables.set(&variable, value);
                }
                Ok(())
            }
            Operation::Step { fields, .. } => {
                let path = variables.fill(&Value::from("${path}"))?;
                self.step(case::step(&variables.fill(fields)?)?, &path)
            }
        }
    }

    fn step(&mut self, step: Step, own_path: &Value) -> Result {
        match step {
            Step::Fault { rule } => {
                let is_for_connections = |fault: &Value| fault == "refuse" || fault == "closed";
                let mut rule = rule;
                if !rule.get("fault").is_some_and(is_for_connections) {
                    rule.entry("path").or_insert_with(|| own_path.clone());
                }
                self.proxy.add_json(&Value::Object(rule)).map(drop)
            }
            Step::ClearFaults {} => {
                self.proxy.clear();
                Ok(())
            }
            Step::WaitHeld { name } if self.proxy.wait_held(&name, 1, HELD_LIMIT) => Ok(()),
            Step::Release { name } if self.proxy.release(&name) > 0 => Ok(()),
            Step::WaitHeld { name } | Step::Release { name } => {
                Err(format!("nothing is held as {name:?}").into())
            }
            Step::RestartAdapter { kill } => self.restart(kill),
            Step::ServerAppend { path, content_type, data, mut headers, status } => {
                headers.insert("Content-Type".to_owned(), content_type);
                let headers: Vec<_> = headers.iter().map(|(n, v)| (&**n, &**v)).collect();
                let answer = http::send(self.server, "POST", &path, &headers, data.as_bytes())?;
                expect_status(answer.status, status)
            }
            Step::ServerClose { path } => {
                let headers = [("Stream-Closed", "true")];
                let answer = http::send(self.server, "POST", &path, &headers, b"")?;
                expect_status(answer.status, None)
            }
            Step::ServerDelete { path } => {
                let answer = http::send(self.server, "DELETE", &path, &[], b"")?;
                expect_status(answer.status, None)
            }
            Step::ExpectStream(expected) => expected.check(self.server),
            Step::ExpectRequests(expected) => {
                eventually(LOG_LAG, || expected.check(&self.proxy.log()))
            }
        }
    }

    fn restart(&mut self, kill: bool) -> Result {
        let adapter = self.adapter.take().ok_or("the adapter does not run")?;
        if kill {
            drop(adapter);
        } else {
            adapter.shut_down()?;
        }
        self.start()
    }
}

fn expect_status(seen: u16, expected: Option<u16>) -> Result {
    match expected {
        Some(expected) => stream::same("status", &expected, &seen),
        None if (200..300).contains(&seen) => Ok(()),
        None => Err(format!("expected a 2xx, seen {seen}").into()),
    }
}

/// The first success, or the last failure within a time.
fn eventually(limit: Duration, mut check: impl FnMut() -> Result) -> Result {
    let started = Instant::now();
    loop {
        match check() {
            Err(failure) if started.elapsed() > limit => return Err(failure),
            Err(_) => {}
            Ok(()) => return Ok(()),
        }
        signals::check()?;
        std::thread::sleep(PAUSE);
    }
}

fn other_name(url: &str) -> String {
    match url.contains("localhost") {
        true => url.replace("localhost", "127.0.0.1"),
        false => url.replace("127.0.0.1", "localhost"),
    }
}
