//! Secrets are in nothing that a service prints, logs or keeps: errors, outcomes, reports, snapshots,
//! what `Debug` says, and the log.
#![allow(clippy::unwrap_used, reason = "a test: a panic is its failure")]

use std::fmt::{Debug, Display};
use std::sync::{Arc, Mutex};

use durstream_core::{
    Callbacks, Collection, DurableStream, IdempotentProducer, LogLevel, Options, StreamSchema,
    Validator, create_durable_stream, inspect, set_log_level, set_log_sink,
};
use durstream_tests::network::authority::Authority;
use durstream_tests::network::forward::ForwardProxy;
use durstream_tests::proxy::{Fault, Proxy, Rule};
use durstream_tests::secrets::MARK;
use durstream_tests::{fresh_path, server_address};

/// All that was shown, each with where.
#[derive(Clone, Default)]
struct Shown(Arc<Mutex<Vec<String>>>);

impl Shown {
    fn see(&self, place: &str, text: impl Display) {
        self.0.lock().unwrap().push(format!("{place}: {text}"));
    }

    fn see_debug(&self, place: &str, value: &impl Debug) {
        self.see(place, format!("{value:?} {value:#?}"));
    }

    fn see_error(&self, place: &str, error: &durstream_core::Error) {
        self.see(place, error);
        self.see_debug(place, error);
    }

    /// The number of places, none of which holds the mark. They are not told: this is a suite's output.
    fn check(&self) -> usize {
        let shown = self.0.lock().unwrap();
        let place = |text: &&String| text.to_ascii_lowercase().contains(MARK);
        let leaks: Vec<String> =
            shown.iter().filter(place).map(|text| text.replace(MARK, "S…")).collect();
        assert!(leaks.is_empty(), "{leaks:#?}");
        shown.len()
    }
}

/// A secret of its own, which is legal in a URL and in a header.
fn secret(name: &str) -> String {
    format!("{MARK}-{name}")
}

/// Options with a secret wherever there may be one.
fn options(base: &str, path: &str) -> Options {
    let url = base.replacen("http://", &format!("http://user:{}@", secret("password")), 1);
    Options::new()
        .url(format!("{url}/v1/stream{path}?token={}", secret("query")))
        .param("api_key", secret("parameter"))
        .header("x-api-key", secret("header"))
        .header_fn("authorization", Arc::new(|answer| answer.give(secret("function"))))
        .retry_initial_delay_ms(1u64)
}

/// Does everything with a stream, and looks at what it says.
fn use_stream(shown: &Shown, name: &str, options: &Options) {
    let state = options.clone().delivery_timeout_ms(100u64).producer_id("state");
    let options = options.clone().content_type("text/plain").max_retries(1u64).idempotent(false);
    shown.see_debug(name, &options);
    let heard = shown.clone();
    let on_error = move |failure: durstream_core::Failure| heard.see_debug("on_error", &failure);
    let callbacks = Callbacks { on_error: Some(Arc::new(on_error)), ..Callbacks::default() };
    let created = DurableStream::create(options.clone(), "").wait();
    created.err().iter().for_each(|error| shown.see_error(name, error));
    let stream = DurableStream::connect(options.clone()).unwrap();
    shown.see_debug(name, &stream);
    shown.see(name, stream.url());
    let results = [
        stream.head().wait().map(drop),
        stream.append("x").wait().map(drop),
        stream.read(None).unwrap().next_chunk().wait().map(drop),
        stream.close(None).wait().map(drop),
        stream.delete().wait().map(drop),
    ];
    results.into_iter().filter_map(Result::err).for_each(|error| shown.see_error(name, &error));
    let own = Options::new().delivery_timeout_ms(100u64).header("x-own", secret("own"));
    let producer = IdempotentProducer::open_with(&stream, "p", own, callbacks.clone()).unwrap();
    shown.see_debug(name, &producer);
    let _ = producer.append("x");
    producer.flush().wait().err().iter().for_each(|error| shown.see_error(name, error));
    shown.see_debug(name, &producer.snapshot());
    shown.see_debug(name, &producer.stats());
    producer.detach().wait().err().iter().for_each(|error| shown.see_error(name, error));
    use_state(shown, name, state);
}

fn use_state(shown: &Shown, name: &str, options: Options) {
    let schema = StreamSchema::new().collection("c", Collection::new("c", "id", Validator::Any));
    shown.see(name, inspect(options.clone(), schema.clone()).unwrap());
    let state = create_durable_stream(options, schema).unwrap();
    shown.see_debug(name, &state);
    let _ = state.upsert_json("c", br#"{"id":"1"}"#);
    state.flush().wait().err().iter().for_each(|error| shown.see_error(name, error));
    shown.see_debug(name, &state.snapshot());
    state.stop();
}

/// An answer of the fault proxy's to every request.
fn answers(status: u16, headers: &[(&str, String)]) -> Rule {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    let fault = Fault::Answer { status, headers, body: "no".to_owned(), forward: false };
    Rule { times: 0, ..Rule::new(fault) }
}

#[test]
fn no_secret_is_shown() {
    let shown = Shown::default();
    let log = shown.clone();
    set_log_level(Some(LogLevel::Trace));
    set_log_sink(move |line| log.see("log", format!("{line:?}")));
    let proxy = Proxy::start(server_address()).unwrap();
    let at = |name: &str| options(&proxy.url(), &fresh_path(name));
    use_stream(&shown, "well", &at("well"));
    let elsewhere = format!("http://u:{0}@127.0.0.1:9/x?token={0}", secret("location"));
    let faults = [
        ("resets", Rule { times: 0, ..Rule::new(Fault::ResetBefore) }),
        ("refusals", Rule { times: 0, ..Rule::new(Fault::Refuse) }),
        ("redirects", answers(307, &[("location", elsewhere)])),
        ("overload", answers(429, &[("retry-after", "0".to_owned())])),
    ];
    let statuses = [400, 401, 403, 404, 409, 410, 413, 418, 500, 503];
    let statuses = statuses.map(|status| ("status", answers(status, &[])));
    for (name, rule) in faults.into_iter().chain(statuses) {
        let id = proxy.add(rule).unwrap();
        use_stream(&shown, name, &at("fault"));
        proxy.remove(id);
    }
    use_stream(&shown, "nobody", &options("http://127.0.0.1:1", &fresh_path("nobody")));
    let wanting = ForwardProxy::start(Some("Basic eA==")).unwrap();
    for address in ["127.0.0.1:1".to_owned(), wanting.address().to_string()] {
        let through = format!("http://user:{}@{address}", secret("proxy"));
        use_stream(&shown, "proxy", &at("proxy").proxy(through));
    }
    wrong_options(&shown, &at("wrong"));
    assert!(shown.check() > 400, "{}", shown.check());
}

/// Secrets that cannot be used, and places where they do not belong.
fn wrong_options(shown: &Shown, good: &Options) {
    let own = Authority::new("an authority").unwrap();
    let key = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----", secret("key"));
    let wrong = [
        good.clone().url(format!("http://user:{0}@h:port/{0}", secret("port"))),
        good.clone().url(format!("ftp://user:{0}@h/?token={0}", secret("scheme"))),
        good.clone().url(format!("{0} and {0}", secret("text"))),
        good.clone().url(format!("http://{}`:1/x", secret("host"))),
        good.clone().header("x-long", format!("{}\n", secret("newline"))),
        good.clone().param("big", secret("long").repeat(20_000)),
        good.clone().header_fn("x-bad", Arc::new(|a| a.give(format!("{}\r\n", secret("cr"))))),
        good.clone().header_fn("x-panic", Arc::new(|_| panic!("the host's own"))),
        good.clone().header_fn("x-fails", Arc::new(|a| a.fail("the host's own"))),
        good.clone().proxy(format!("socks5://user:{}@p", secret("socks"))),
        good.clone().proxy(format!("http://user:{}@", secret("no host"))),
        good.clone().client_key_pem(key.as_str()),
        good.clone().client_cert_pem(own.pem()).client_key_pem(key.as_str()),
        good.clone().client_cert_pem(key.as_str()).client_key_pem(key.as_str()),
        good.clone().ca_pem(key.as_str()),
        good.clone().ca_pem(secret("a path that is none")),
    ];
    for (n, options) in wrong.into_iter().enumerate() {
        let place = format!("wrong {n}");
        shown.see_debug(&place, &options);
        match DurableStream::create(options, "").wait() {
            Ok(stream) => panic!("{place} is right: {stream:?}"),
            Err(error) => shown.see_error(&place, &error),
        }
    }
}
