//! `validate`: whether values are taken when something is made of them.

use durstream_core::{DurableStream, Error, IdempotentProducer, Options};
use serde_json::{Value, json};

use crate::command::Command;
use crate::failure::{Failure, Result};
use crate::streams::Streams;

/// The command's names of options, and ours.
const RETRY_OPTIONS: [(&str, &str); 4] = [
    ("maxRetries", "max_retries"),
    ("initialDelayMs", "retry_initial_delay_ms"),
    ("maxDelayMs", "retry_max_delay_ms"),
    ("multiplier", "retry_multiplier"),
];
const PRODUCER_OPTIONS: [(&str, &str); 3] = [
    ("epoch", "epoch"),
    ("maxBatchBytes", "max_batch_bytes"),
    ("maxBatchItems", "max_batch_items"),
];

pub(crate) fn run(streams: &Streams, command: &Command) -> Result<Value> {
    let target = command.inner("target");
    let stream = || streams.options(&Command::parse(r#"{"path":"/test-validate"}"#));
    match target.text("target").as_deref() {
        Some("retry-options") => {
            let options = set(stream()?, &RETRY_OPTIONS, &target)?;
            DurableStream::connect(options).map_err(|e| spelled(e, &RETRY_OPTIONS))?;
        }
        Some("idempotent-producer") => {
            let options = set(Options::new(), &PRODUCER_OPTIONS, &target)?;
            let id = target.text("producerId").unwrap_or_else(|| "test-producer".to_owned());
            let stream = DurableStream::connect(stream()?)?;
            let opened = IdempotentProducer::open(&stream, &id, options);
            drop(opened.map_err(|e| spelled(e, &PRODUCER_OPTIONS))?);
        }
        _ => return Err(Failure::not_supported("there is no such target".to_owned())),
    }
    Ok(json!({}))
}

fn set(mut options: Options, names: &[(&str, &str)], target: &Command) -> Result<Options> {
    for (field, option) in names {
        if let Some(value) = target.text(field) {
            options.set(option, &value).map_err(|error| spelled(error, names))?;
        }
    }
    Ok(options)
}

/// The error with the option's name as the command spells it.
fn spelled(error: Error, names: &[(&str, &str)]) -> Failure {
    let named = names.iter().find(|(_, option)| error.option_name() == Some(option));
    let mut failure = Failure::from(error);
    if let Some((field, option)) = named {
        failure.message = failure.message.replace(&format!("`{option}`"), &format!("`{field}`"));
    }
    failure
}
