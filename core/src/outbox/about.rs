//! Whose an outbox is: a file in its folder, for people and for those who look for outboxes.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::outbox::disk::{Disk, damaged, failed, newer};
use crate::outbox::format::VERSION;
use crate::outbox::names::{folder_name, segment_number};
use crate::runtime::chance::Chance;

/// The file.
pub(crate) const ABOUT: &str = "outbox.json";

/// Where an outbox is, and whose.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The option `outbox_dir`.
    pub(crate) dir: PathBuf,
    /// The stream's URL without user info and query.
    pub(crate) stream: Arc<str>,
    pub(crate) producer_id: String,
    /// The id that its producer has in common with other workers.
    pub(crate) shared: Option<String>,
}

impl Place {
    pub(crate) fn folder(&self) -> PathBuf {
        self.dir.join(folder_name(&self.stream, &self.producer_id))
    }
}

/// What the file says.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct About {
    pub(crate) format: u64,
    pub(crate) stream: String,
    pub(crate) producer_id: String,
    /// The id that several workers share, each with a suffix of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) shared: Option<String>,
    #[serde(default)]
    pub(crate) created: String,
}

/// Whether there is an outbox in the folder, and it is this one's.
pub(super) fn check_about(
    disk: &dyn Disk,
    place: &Place,
    names: &[String],
    salvage: bool,
) -> Result<bool> {
    let path = place.folder().join(ABOUT);
    let has_segments = names.iter().any(|name| segment_number(name).is_some());
    let read = match disk.read(&path) {
        Ok(bytes) => {
            serde_json::from_slice::<serde_json::Value>(&bytes).map_err(|_| "it is no JSON")
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            if !has_segments {
                return Ok(false);
            }
            Err("it is missing")
        }
        Err(error) => return Err(failed("read", &path, &error)),
    };
    let about = read.and_then(|value| {
        let format = value.get("format").and_then(serde_json::Value::as_u64);
        if let Some(format) = format.filter(|format| *format > u64::from(VERSION)) {
            return Ok(Err(format));
        }
        let about: Result<About, _> = serde_json::from_value(value);
        about.map(Ok).map_err(|_| "it does not say whose outbox this is")
    });
    match about {
        Ok(Err(format)) => Err(newer(&path, format)),
        Ok(Ok(about))
            if *about.stream == *place.stream && about.producer_id == place.producer_id =>
        {
            Ok(true)
        }
        Ok(Ok(_)) if !salvage => Err(damaged(&path, 0, "it names another stream or producer")),
        Err(why) if !salvage => Err(damaged(&path, 0, why)),
        _ => write_about(disk, place).map(|()| true),
    }
}

pub(super) fn write_about(disk: &dyn Disk, place: &Place) -> Result<()> {
    let path = place.folder().join(ABOUT);
    let created = time::OffsetDateTime::from(Chance::System.now());
    let about = About {
        format: VERSION.into(),
        stream: place.stream.to_string(),
        producer_id: place.producer_id.clone(),
        shared: place.shared.clone(),
        created: created.format(&time::format_description::well_known::Rfc3339).unwrap_or_default(),
    };
    let json = serde_json::to_vec_pretty(&about).expect("text and numbers");
    disk.replace(&path, &json).map_err(|error| failed("write", &path, &error))
}
