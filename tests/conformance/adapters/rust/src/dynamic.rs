//! Headers and query parameters whose values change: `set-dynamic-header`, `set-dynamic-param`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use durstream_core::{HeaderAnswer, Options};
use serde_json::{Map, Value};

use crate::command::Command;
use crate::failure::{Failure, Result};

/// How a value changes.
enum Source {
    Counter(u64),
    Timestamp,
    Token(String),
}

impl Source {
    fn new(command: &Command) -> Result<Self> {
        match command.needed("valueType")?.as_str() {
            "counter" => Ok(Source::Counter(0)),
            "timestamp" => Ok(Source::Timestamp),
            "token" => Ok(Source::Token(command.text("initialValue").unwrap_or_default())),
            other => Err(Failure::not_supported(format!("there is no value type `{other}`"))),
        }
    }

    fn next(&mut self) -> String {
        match self {
            Source::Counter(count) => {
                *count += 1;
                count.to_string()
            }
            Source::Timestamp => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                now.as_millis().to_string()
            }
            Source::Token(token) => token.clone(),
        }
    }
}

/// What is set, and what the last command really sent of it.
#[derive(Default)]
struct Sources {
    sources: BTreeMap<String, Source>,
    sent: Map<String, Value>,
}

impl Sources {
    fn next(&mut self, name: &str) -> Option<String> {
        let value = self.sources.get_mut(name)?.next();
        self.sent.insert(name.to_owned(), value.clone().into());
        Some(value)
    }
}

/// The dynamic headers and parameters of an adapter.
#[derive(Default)]
pub(crate) struct Dynamic {
    headers: Arc<Mutex<Sources>>,
    params: Mutex<Sources>,
}

fn lock(sources: &Mutex<Sources>) -> std::sync::MutexGuard<'_, Sources> {
    sources.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Dynamic {
    pub(crate) fn set_header(&self, command: &Command) -> Result<()> {
        set(&self.headers, command)
    }

    pub(crate) fn set_param(&self, command: &Command) -> Result<()> {
        set(&self.params, command)
    }

    pub(crate) fn clear(&self) {
        for sources in [&*self.headers, &self.params] {
            *lock(sources) = Sources::default();
        }
    }

    /// Adds them to a handle's options: headers as functions, parameters as they are now.
    pub(crate) fn add_to(&self, options: &mut Options, own: &[(&str, String)]) -> Result<()> {
        let names: Vec<String> = lock(&self.headers).sources.keys().cloned().collect();
        let is_own = |name: &str| own.iter().any(|(own, _)| own.eq_ignore_ascii_case(name));
        for name in names.into_iter().filter(|name| !is_own(name)) {
            let (headers, asked) = (self.headers.clone(), name.clone());
            let function = move |answer: HeaderAnswer| match lock(&headers).next(&asked) {
                Some(value) => answer.give(value),
                None => answer.fail("it was cleared"),
            };
            options.set_header_fn(&name, Arc::new(function))?;
        }
        let mut params = lock(&self.params);
        let names: Vec<String> = params.sources.keys().cloned().collect();
        for name in names {
            let value = params.next(&name).unwrap_or_default();
            options.set_param(&name, &value)?;
        }
        Ok(())
    }

    /// What was sent since the last call, as fields of an answer.
    pub(crate) fn report(&self, answer: &mut Map<String, Value>) {
        for (field, sources) in [("headersSent", &*self.headers), ("paramsSent", &self.params)] {
            let sent = std::mem::take(&mut lock(sources).sent);
            if !sent.is_empty() {
                answer.insert(field.to_owned(), sent.into());
            }
        }
    }
}

fn set(sources: &Mutex<Sources>, command: &Command) -> Result<()> {
    let source = Source::new(command)?;
    lock(sources).sources.insert(command.needed("name")?, source);
    Ok(())
}
