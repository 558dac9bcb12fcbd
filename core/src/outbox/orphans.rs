//! Outboxes of workers that share an id: whoever opens one next takes those whose process has died.

use std::io::ErrorKind;
use std::path::Path;

use crate::error::{ErrorKind as Kind, Result};
use crate::outbox::about::{ABOUT, About, Place};
use crate::outbox::disk::{Disk, failed};

/// The outboxes of the workers that share an id, whoever has them open, in the order of their names;
/// and the folders of which nobody can say whose they are.
pub(crate) fn of_workers(
    disk: &dyn Disk,
    dir: &Path,
    stream: &str,
    shared_id: &str,
) -> Result<(Vec<Place>, Vec<String>)> {
    let mut names = match disk.list(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        names => names.map_err(|error| failed("read", dir, &error))?,
    };
    names.sort();
    let (mut places, mut unknown) = (Vec::new(), Vec::new());
    for name in names {
        let about = match disk.read(&dir.join(&name).join(ABOUT)) {
            Ok(about) => serde_json::from_slice(&about).ok(),
            // It is no outbox, or no folder.
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                continue;
            }
            Err(_) => None,
        };
        let Some(About { stream: its, producer_id, shared, .. }) = about else {
            unknown.push(name);
            continue;
        };
        let place = Place { dir: dir.to_owned(), stream: its.into(), producer_id, shared };
        // A copy of a folder has a name that is not its own.
        let is_one = *place.stream == *stream && place.shared.as_deref() == Some(shared_id);
        if is_one && place.folder().ends_with(&name) {
            places.push(place);
        }
    }
    Ok((places, unknown))
}

/// What opening an outbox gave, or nothing where somebody has it open.
pub(crate) fn if_free<T>(opened: Result<T>) -> Result<Option<T>> {
    match opened {
        Err(error) if error.kind() == Kind::OutboxInUse => Ok(None),
        opened => opened.map(Some),
    }
}
