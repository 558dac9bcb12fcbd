//! The commands about streams by their path.

use std::collections::HashMap;
use std::convert::Infallible;

use durstream_core::{DurableStream, Metadata, Options};
use serde_json::{Value, json};

use crate::command::{Command, carried};
use crate::dynamic::Dynamic;
use crate::failure::{Failure, Result};

/// The server, and what is known of its streams.
#[derive(Default)]
pub(crate) struct Streams {
    pub(crate) dynamic: Dynamic,
    server: String,
    content_types: HashMap<String, String>,
}

impl Streams {
    pub(crate) fn at(server: String) -> Self {
        Self { dynamic: Dynamic::default(), server, content_types: HashMap::new() }
    }

    /// What every handle made for this command has: URL, headers, query parameters, and the options
    /// it gives itself.
    pub(crate) fn options(&self, command: &Command) -> Result<Options> {
        let mut options = Options::new().url(self.server.clone() + &command.needed("path")?);
        let own = command.pairs("headers");
        for (name, value) in &own {
            options.set_header(name, value)?;
        }
        for (name, value) in command.pairs("params") {
            options.set_param(name, &value)?;
        }
        for (name, value) in command.pairs("streamOptions") {
            options.set(name, &value)?;
        }
        self.dynamic.add_to(&mut options, &own)?;
        Ok(options)
    }

    /// A handle on the stream with the content type it is known to have.
    pub(crate) fn open(&self, command: &Command) -> Result<DurableStream> {
        let mut options = self.options(command)?;
        let known = self.content_types.get(&command.needed("path")?).cloned();
        if let Some(content_type) = command.text("contentType").or(known) {
            options = options.content_type(content_type);
        }
        Ok(DurableStream::connect(options)?)
    }

    fn knows(&mut self, command: &Command, content_type: Option<&str>) -> Result<()> {
        if let Some(content_type) = content_type {
            self.content_types.insert(command.needed("path")?, content_type.to_owned());
        }
        Ok(())
    }

    pub(crate) fn create(&mut self, command: &Command) -> Result<Value> {
        let mut options = self.options(command)?;
        let names = [
            ("contentType", "content_type"),
            ("ttlSeconds", "ttl_seconds"),
            ("expiresAt", "expires_at"),
            ("closed", "closed"),
        ];
        for (field, option) in names {
            if let Some(value) = command.text(field) {
                options.set(option, &value)?;
            }
        }
        let head = DurableStream::connect(self.options(command)?)?.head().wait();
        let known = head.is_ok_and(|metadata| metadata.exists);
        let body = command.data()?.unwrap_or_default();
        let stream = DurableStream::create(options, body).wait()?;
        self.knows(command, stream.content_type())?;
        Ok(json!({ "status": if known { 200 } else { 201 } }))
    }

    pub(crate) fn head(&mut self, command: &Command) -> Result<Value> {
        let stream = self.open(command)?;
        let metadata: Metadata = stream.head().wait()?;
        if !metadata.exists {
            return Err(Failure::not_found(stream.url()));
        }
        self.knows(command, metadata.content_type.as_deref())?;
        let mut out = json!({
            "status": 200,
            "offset": metadata.offset.as_deref(),
            "streamClosed": metadata.stream_closed,
        });
        if let Some(content_type) = metadata.content_type.as_deref() {
            out["contentType"] = content_type.into();
        }
        if let Some(seconds) = metadata.ttl_seconds {
            out["ttlSeconds"] = seconds.into();
        }
        if let Some(time) = metadata.expires_at.as_deref() {
            out["expiresAt"] = time.into();
        }
        Ok(out)
    }

    pub(crate) fn append(&self, command: &Command) -> Result<Value> {
        let stream = self.open(command)?;
        let data = command.data()?.unwrap_or_default();
        let outcome = match command.text("seq") {
            Some(seq) => stream.append_with_seq(data, &seq).wait()?,
            None => stream.append(data).wait()?,
        };
        let mut out = json!({ "status": 200, "duplicate": outcome.duplicate });
        if let Some(offset) = outcome.offset.as_deref() {
            out["offset"] = offset.into();
        }
        Ok(out)
    }

    pub(crate) fn append_stream(&self, command: &Command) -> Result<Value> {
        let items = command.items("items")?.into_iter().map(Ok::<_, Infallible>);
        let report = self.open(command)?.blocking_append_stream(items)?;
        Ok(json!({
            "delivered": report.delivered,
            "duplicates": report.duplicates,
            "uncertain": report.uncertain,
        }))
    }

    pub(crate) fn read(&self, command: &Command) -> Result<Value> {
        if command.field("live").is_some_and(|live| *live != Value::Bool(false)) {
            return Err(Failure::not_supported("live reads are not there yet".to_owned()));
        }
        let most = command.number("maxChunks").unwrap_or(u64::MAX);
        let reader = self.open(command)?.read(command.text("offset").as_deref())?;
        let mut chunks = Vec::new();
        while (chunks.len() as u64) < most {
            let Some(chunk) = reader.next_chunk().wait()? else { break };
            let mut fields = carried(&chunk.data);
            fields.insert("offset".to_owned(), (*chunk.offset).into());
            chunks.push(Value::Object(fields));
        }
        Ok(json!({
            "status": 200,
            "chunks": chunks,
            "offset": reader.offset().as_deref(),
            "upToDate": reader.up_to_date(),
            "streamClosed": reader.stream_closed(),
        }))
    }

    pub(crate) fn close(&self, command: &Command) -> Result<Value> {
        let data = command.data()?;
        let closed = self.open(command)?.close(data.as_deref()).wait()?;
        let mut out = json!({ "status": 200 });
        if let Some(offset) = closed.final_offset.as_deref() {
            out["finalOffset"] = offset.into();
        }
        Ok(out)
    }

    pub(crate) fn delete(&mut self, command: &Command) -> Result<Value> {
        self.open(command)?.delete().wait()?;
        self.content_types.remove(&command.needed("path")?);
        Ok(json!({ "status": 200 }))
    }
}
