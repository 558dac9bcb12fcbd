//! The conformance adapter of the Rust face: a JSON command per line in, a JSON result out.

mod command;
mod dynamic;
mod failure;
mod producers;
mod streams;
mod validate;

use std::io::{BufRead, Write};
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Map, Value, json};

use command::Command;
use failure::{Failure, Result};
use producers::Producers;
use streams::Streams;

const SHUTDOWN_LIMIT: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let mut adapter = Adapter::default();
    let mut output = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        let command = Command::parse(&line);
        let answer = adapter.answer(&command);
        if writeln!(output, "{answer}").and_then(|()| output.flush()).is_err() {
            break;
        }
        if command.kind() == "shutdown" {
            break;
        }
    }
    drop(adapter);
    // What is left then has nobody to tell.
    let _ = durstream_core::shutdown(SHUTDOWN_LIMIT);
    ExitCode::SUCCESS
}

/// What lasts from command to command.
#[derive(Default)]
struct Adapter {
    streams: Streams,
    producers: Producers,
}

impl Adapter {
    fn answer(&mut self, command: &Command) -> Value {
        let kind = command.kind();
        match self.run(command) {
            Ok(mut fields) => {
                self.streams.dynamic.report(&mut fields);
                fields.insert("type".to_owned(), kind.into());
                fields.insert("success".to_owned(), true.into());
                Value::Object(fields)
            }
            Err(failure) => failure.to_json(kind),
        }
    }

    fn run(&mut self, command: &Command) -> Result<Map<String, Value>> {
        let (streams, producers) = (&mut self.streams, &mut self.producers);
        let fields = match command.kind() {
            "init" => {
                *streams = Streams::at(command.needed("serverUrl")?);
                *producers = Producers::default();
                json!({
                    "clientName": "durstream-rust",
                    "clientVersion": env!("CARGO_PKG_VERSION"),
                    "features": {
                        "batching": true,
                        "dynamicHeaders": true,
                        "retryOptions": true,
                        "batchItems": true,
                        "strictZeroValidation": true,
                    },
                })
            }
            "create" => streams.create(command)?,
            "connect" | "head" => streams.head(command)?,
            "append" => streams.append(command)?,
            "append-stream" => streams.append_stream(command)?,
            "read" => streams.read(command)?,
            "close" => streams.close(command)?,
            "delete" => streams.delete(command)?,
            "idempotent-append" => producers.append(streams, command)?,
            "idempotent-append-batch" => producers.append_batch(streams, command)?,
            "idempotent-close" => producers.close(streams, command)?,
            "idempotent-detach" => producers.detach(command)?,
            "producer-open" => producers.open_named(streams, command)?,
            "producer-append" => producers.append_named(command)?,
            "producer-flush" => producers.flush_named(command)?,
            "producer-close" => producers.close_named(command)?,
            "producer-detach" => producers.detach_named(command)?,
            "producer-outcomes" => producers.outcomes_named(command)?,
            "set-dynamic-header" => {
                streams.dynamic.set_header(command)?;
                json!({})
            }
            "set-dynamic-param" => {
                streams.dynamic.set_param(command)?;
                json!({})
            }
            "clear-dynamic" => {
                streams.dynamic.clear();
                json!({})
            }
            "validate" => validate::run(streams, command)?,
            "shutdown" => json!({}),
            other => return Err(Failure::not_supported(format!("there is no command `{other}`"))),
        };
        match fields {
            Value::Object(fields) => Ok(fields),
            other => unreachable!("a result is an object, not {other}"),
        }
    }
}
