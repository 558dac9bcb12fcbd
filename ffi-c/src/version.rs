//! Which headers this library serves.

use durstream_core::{Error, ErrorKind};

const LIBRARY: [&str; 3] = [
    env!("CARGO_PKG_VERSION_MAJOR"),
    env!("CARGO_PKG_VERSION_MINOR"),
    env!("CARGO_PKG_VERSION_PATCH"),
];

/// An error unless the library has what a header of this version declares.
pub(crate) fn check(header: [u32; 3]) -> Result<(), Error> {
    // Cargo lets nothing but numbers through.
    let library = LIBRARY.map(|number| number.parse().unwrap_or(0));
    if serves(library, header) {
        return Ok(());
    }
    let newest = if header[0] == 0 { 1 } else { 0 };
    let (shown, series) = (text(&header), text(&header[..=newest]));
    Err(Error::new(
        ErrorKind::NotSupported,
        format!(
            "the program was compiled with durstream.h {shown}, and the library that is loaded is {}: \
             install libdurstream {shown} or a later {series}, or compile with the library's own header",
            text(&library)
        ),
    ))
}

/// Before 1.0 a minor version may break programs, from 1.0 on a major one.
fn serves(library: [u32; 3], header: [u32; 3]) -> bool {
    let same = if library[0] == 0 { 2 } else { 1 };
    library[..same] == header[..same] && library >= header
}

fn text(version: &[u32]) -> String {
    version.iter().map(u32::to_string).collect::<Vec<_>>().join(".")
}
