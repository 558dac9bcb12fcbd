//! The proxy's remote control, for tests in other languages.
//!
//! | request | does | answers |
//! |---|---|---|
//! | `POST /rules` | adds a rule, or a list of rules | `{"rules":[1]}` |
//! | `DELETE /rules`, `DELETE /rules/1` | removes all (and releases all holds), removes one | `{}` |
//! | `POST /release/NAME` | lets held requests go | `{"released":1}` |
//! | `GET /held/NAME` | | `{"held":1}` |
//! | `GET /log`, `DELETE /log` | | `{"entries":[...]}`, `{}` |
//! | `POST /upstream` | `{"address":"127.0.0.1:4437"}`: the server is there now | `{}` |
//!
//! What cannot be done is answered 400 or 404 with `{"error":"..."}`.

use std::io::{BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};

use super::wire::{Head, Tally};
use super::{Proxy, Rule, RuleId};
use crate::failure::{Context, Result};

const LIMIT: Duration = Duration::from_secs(10);
const MAX_BODY_BYTES: usize = 16 << 20;

/// Serves the requests above, one at a time, until it is dropped.
#[derive(Debug)]
pub struct Control {
    address: SocketAddr,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Control {
    /// Listens on a free port of 127.0.0.1.
    pub fn start(proxy: Arc<Proxy>) -> Result<Self> {
        let doing = "opening a port for the proxy's control";
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context(doing)?;
        let address = listener.local_addr().context(doing)?;
        let stopping = Arc::new(AtomicBool::new(false));
        let told = stopping.clone();
        let serve = move || {
            for socket in listener.incoming() {
                if told.load(Ordering::SeqCst) {
                    return;
                }
                let served = socket.context("accept").and_then(|socket| serve(&proxy, &socket));
                drop(served); // who asked is gone
            }
        };
        let thread = std::thread::Builder::new().name("proxy-control".to_owned()).spawn(serve);
        Ok(Self { address, stopping, thread: Some(thread.context(doing)?) })
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect_timeout(&self.address, LIMIT);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(proxy: &Proxy, mut socket: &TcpStream) -> Result {
    let doing = "a control request";
    socket.set_read_timeout(Some(LIMIT)).context(doing)?;
    socket.set_write_timeout(Some(LIMIT)).context(doing)?;
    let mut reader = BufReader::new(socket);
    let head = Head::read(&mut reader).context(doing)?.ok_or("an empty request")?;
    let mut body = head.request_body().context(doing)?;
    let mut tally = Tally::keeping(MAX_BODY_BYTES);
    body.pump(&mut reader, u64::MAX, &mut tally, |_| Ok(())).context(doing)?;
    let (status, answer) = match answer(proxy, head.method(), head.target(), &tally.kept) {
        Ok(Some(answer)) => (200, answer),
        Ok(None) => (404, json!({ "error": "there is nothing here" })),
        Err(failure) => (400, json!({ "error": failure.to_string() })),
    };
    let text = answer.to_string();
    let head = format!(
        "HTTP/1.1 {status} Answer\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        text.len()
    );
    socket.write_all((head + &text).as_bytes()).context(doing)
}

fn answer(proxy: &Proxy, method: &str, target: &str, body: &[u8]) -> Result<Option<Value>> {
    let words: Vec<&str> = target.trim_start_matches('/').split('/').collect();
    Ok(Some(match (method, words.as_slice()) {
        ("POST", ["rules"]) => {
            let rules = match serde_json::from_slice(body).context("the rules")? {
                Value::Array(rules) => rules,
                rule => vec![rule],
            };
            // All or none.
            let rules = rules.iter().map(Rule::from_json).collect::<Result<Vec<_>>>()?;
            let ids = rules.into_iter().map(|rule| proxy.add(rule).map(|id| id.0));
            json!({ "rules": ids.collect::<Result<Vec<_>>>()? })
        }
        ("DELETE", ["rules"]) => {
            proxy.clear();
            json!({})
        }
        ("DELETE", ["rules", id]) => {
            let id = id.parse().context("the number of a rule")?;
            if !proxy.remove(RuleId(id)) {
                return Ok(None);
            }
            json!({})
        }
        ("POST", ["release", name]) => json!({ "released": proxy.release(name) }),
        ("GET", ["held", name]) => json!({ "held": proxy.held(name) }),
        ("GET", ["log"]) => json!({ "entries": proxy.log_json() }),
        ("DELETE", ["log"]) => {
            proxy.clear_log();
            json!({})
        }
        ("POST", ["upstream"]) => {
            let body: Value = serde_json::from_slice(body).context("the address")?;
            let address = body["address"].as_str().ok_or("`address` is missing")?;
            proxy.set_upstream(address.parse().context(address)?);
            json!({})
        }
        _ => return Ok(None),
    }))
}
